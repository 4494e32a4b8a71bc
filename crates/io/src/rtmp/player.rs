//! A client that plays: the source's frames as messages, as fast as it takes them.

use std::time::{Duration, Instant};

use stagecast_core::id::SourceKey;
use stagecast_core::rtmp::Event;
use stagecast_core::session::Ended;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::connection::{Client, LOOK, Over};
use crate::frames::FrameEvent;

/// How long a player waits for a publisher, or for one to come back.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes written in one go.
const BATCH: usize = 256 << 10;

/// Play until the client has enough, or the source is gone for long.
pub(super) async fn run<S>(client: &mut Client<'_, S>, key: SourceKey) -> Result<(), Over>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut frames = client.context.frames.read(key);
    let mut player = client.connection.admit_player(Instant::now())?;
    client.flush().await?;
    let mut closing = client.context.closing.clone();
    let mut buffer = vec![0; 4096];
    let mut last_frame = Instant::now();
    loop {
        let mut next = tokio::select! {
            read = client.stream.read(&mut buffer) => {
                let len = read?;
                if len == 0 {
                    return Err(Over::Closed);
                }
                client.connection.handle_input(Instant::now(), &buffer[..len])?;
                None
            }
            next = frames.next() => match next {
                Some(event) => Some(event),
                None => return Err(Over::Ended(Ended::Shutdown)),
            },
            () = tokio::time::sleep(LOOK) => None,
            () = closing.wait() => return Err(Over::Ended(Ended::Shutdown)),
        };
        while let Some(event) = client.connection.poll_event() {
            if matches!(event, Event::Done | Event::Ask(..)) {
                client.flush().await?;
                return Err(Over::Closed);
            }
        }
        let mut written = 0;
        while let Some(event) = next.take() {
            match event {
                FrameEvent::Frame {
                    track,
                    layer,
                    frame,
                } => {
                    last_frame = Instant::now();
                    written += frame.data.len();
                    for message in player.messages(&track, &layer, &frame) {
                        client.connection.send(&message);
                    }
                }
                FrameEvent::Begin { .. } => player.restart(),
                // It does not keep up: its picture would jump from group to group.
                FrameEvent::Lost => return Err(Over::Stalled(client.context.stall_timeout)),
                FrameEvent::End | FrameEvent::Rungs { .. } => {}
            }
            if written < BATCH {
                next = frames.try_next();
            }
        }
        client.flush().await?;
        if last_frame.elapsed() > PATIENCE {
            return Err(Over::Ended(Ended::Requested("source_ended".into())));
        }
    }
}
