//! Connections as encoders and players make them: recorded command sequences against the state
//! machine.

use std::time::Instant;

use stagecast_proto::amf::{Value, amf0};
use stagecast_proto::codec::Codec;
use stagecast_proto::rtmp::chunk::{Reader, Writer};
use stagecast_proto::rtmp::{Message, control, kind};

use super::*;

const APP: &str = "v2/pub";
const NAME: &str = "cam?token=secret&sourceId=left";

/// The client's side, as little as it takes.
struct Client {
    connection: Connection,
    writer: Writer,
    reader: Reader,
    /// Bytes of the server's handshake still to come.
    handshake: usize,
}

impl Client {
    /// Connected, with the handshake done; C2 and the first command come in one piece, as OBS sends
    /// them.
    fn open(connect: &[(&str, Value)]) -> Self {
        let mut client = Self {
            connection: Connection::new([7; 1528]),
            writer: Writer::default(),
            reader: Reader::new(1 << 20),
            handshake: 1 + 2 * 1536,
        };
        let mut hello = vec![3];
        hello.extend_from_slice(&[0; 1536]);
        client.feed(&hello).unwrap();
        let mut bytes = vec![0; 1536];
        client.write(&mut bytes, 3, &connect_message(connect));
        client.feed(&bytes).unwrap();
        client
    }

    fn write(&mut self, out: &mut Vec<u8>, channel: u8, message: &Message) {
        self.writer.write(out, channel, message);
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), RtmpError> {
        self.connection.handle_input(Instant::now(), bytes)
    }

    fn send(&mut self, message: &Message) -> Result<(), RtmpError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, 3, message);
        self.feed(&bytes)
    }

    fn command(&mut self, stream: u32, values: &[Value]) {
        self.send(&message(kind::COMMAND, stream, &amf0::write(values)))
            .unwrap();
    }

    /// What the server said since the last call: commands by name and first code or value.
    fn heard(&mut self) -> Vec<String> {
        let output = self.connection.take_output();
        let skip = self.handshake.min(output.len());
        self.handshake -= skip;
        self.reader.push(&output[skip..]);
        let mut heard = Vec::new();
        while let Some(message) = self.reader.next_message().unwrap() {
            heard.push(match message.kind {
                kind::COMMAND | kind::DATA => {
                    let values = amf0::read(&message.payload).unwrap();
                    let code = values.iter().rev().find_map(|value| value.get("code"));
                    let name = values[0].as_str().unwrap().to_owned();
                    match code.and_then(Value::as_str) {
                        Some(code) => format!("{name} {code}"),
                        None => name,
                    }
                }
                kind::USER_CONTROL => {
                    let (event, number) = control::read_user_control(&message.payload).unwrap();
                    format!("event {event} {number}")
                }
                other => format!("kind {other}"),
            });
        }
        heard
    }

    fn asked(&mut self) -> (Action, Request) {
        match self.connection.poll_event() {
            Some(Event::Ask(action, request)) => (action, request),
            other => panic!("not asked: {other:?}"),
        }
    }

    /// What OBS says between connecting and publishing.
    fn publish_as_obs(&mut self) {
        let null = Value::Null;
        let number = Value::Number;
        let name = || Value::string(NAME);
        self.command(
            0,
            &[
                Value::string("releaseStream"),
                number(2.0),
                null.clone(),
                name(),
            ],
        );
        self.command(
            0,
            &[
                Value::string("FCPublish"),
                number(3.0),
                null.clone(),
                name(),
            ],
        );
        self.command(
            0,
            &[Value::string("createStream"), number(4.0), null.clone()],
        );
        self.command(0, &[Value::string("_checkbw"), number(5.0), null.clone()]);
        let live = Value::string("live");
        self.command(
            1,
            &[Value::string("publish"), number(6.0), null, name(), live],
        );
    }
}

fn message(kind: u8, stream: u32, payload: &[u8]) -> Message {
    Message {
        kind,
        stream,
        timestamp: 0,
        payload: payload.to_vec(),
    }
}

fn connect_message(properties: &[(&str, Value)]) -> Message {
    let mut object = vec![
        ("app".to_owned(), Value::string(APP)),
        ("type".to_owned(), Value::string("nonprivate")),
        (
            "flashVer".to_owned(),
            Value::string("FMLE/3.0 (compatible; FMSc/1.0)"),
        ),
        (
            "tcUrl".to_owned(),
            Value::string("rtmp://127.0.0.1:1935/v2/pub"),
        ),
    ];
    object.extend(
        properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    let values = [
        Value::string("connect"),
        Value::Number(1.0),
        Value::Object(object),
    ];
    message(kind::COMMAND, 0, &amf0::write(&values))
}

/// What OBS 30 adds to `connect`.
fn obs() -> [(&'static str, Value); 2] {
    let list = ["av01", "hvc1", "vp09"].map(Value::string);
    [
        ("capsEx", Value::Number(2.0)),
        ("fourCcList", Value::Array(list.into())),
    ]
}

#[test]
fn obs_is_asked_for_its_key_and_publishes() {
    let mut client = Client::open(&obs());
    assert_eq!(
        client.heard(),
        ["kind 5", "kind 6", "_result NetConnection.Connect.Success"]
    );
    client.publish_as_obs();
    assert_eq!(client.heard(), ["_result"; 4]);
    let (action, request) = client.asked();
    assert_eq!(
        (action, request.path.as_str()),
        (Action::Publish, "v2/pub/cam")
    );
    assert_eq!(request.query[1], ("sourceId".into(), "left".into()));
    client.connection.admit(Instant::now()).unwrap();
    assert_eq!(
        client.heard(),
        ["event 0 1", "onStatus NetStream.Publish.Start"]
    );

    let record = b"\xaf\x00\x12\x10";
    client.send(&message(kind::AUDIO, 1, record)).unwrap();
    client
        .send(&message(kind::AUDIO, 1, b"\xaf\x01data"))
        .unwrap();
    let Some(Event::Frame(track, frame)) = client.connection.poll_event() else {
        panic!("no frame");
    };
    assert_eq!((&*track, frame.config.codec), ("audio", Codec::Aac));

    let number = Value::Number;
    let name = Value::string(NAME);
    client.command(
        0,
        &[Value::string("FCUnpublish"), number(7.0), Value::Null, name],
    );
    client.command(
        0,
        &[
            Value::string("deleteStream"),
            number(8.0),
            Value::Null,
            number(1.0),
        ],
    );
    assert!(matches!(client.connection.poll_event(), Some(Event::Done)));
    assert!(client.connection.poll_event().is_none(), "done once");
    assert_eq!(client.heard(), ["onStatus NetStream.Unpublish.Success"]);
}

#[test]
fn a_wrong_key_is_refused_at_publish_and_nothing_is_read_after() {
    for (code, status) in [
        ("unauthorized", "onStatus NetStream.Publish.Unauthorized"),
        ("not_found", "onStatus NetStream.Publish.BadName"),
        ("unavailable", "onStatus NetStream.Failed"),
    ] {
        let mut client = Client::open(&obs());
        client.publish_as_obs();
        client.heard();
        client.asked();
        client.connection.refuse(code, "No such key.");
        assert_eq!(client.heard(), [status]);
        client
            .send(&message(kind::AUDIO, 1, b"\xaf\x00\x12\x10"))
            .unwrap();
        assert!(client.connection.poll_event().is_none());
    }
}

#[test]
fn media_sent_before_the_answer_is_taken_after_it() {
    let mut client = Client::open(&[]);
    client.publish_as_obs();
    client.asked();
    client
        .send(&message(kind::AUDIO, 1, b"\xaf\x00\x12\x10"))
        .unwrap();
    client
        .send(&message(kind::AUDIO, 1, b"\xaf\x01data"))
        .unwrap();
    assert!(client.connection.poll_event().is_none());
    client.connection.admit(Instant::now()).unwrap();
    assert!(matches!(
        client.connection.poll_event(),
        Some(Event::Frame(..))
    ));
}

#[test]
fn a_large_message_is_taken_only_from_an_admitted_publisher() {
    let large = message(kind::DATA, 1, &vec![0; 100_000]);
    let mut client = Client::open(&[]);
    assert_eq!(client.send(&large).unwrap_err().code(), "rtmp.bad_chunk");
    let mut client = Client::open(&[]);
    client.publish_as_obs();
    client.asked();
    client.connection.admit(Instant::now()).unwrap();
    client.send(&large).unwrap();
}

#[test]
fn codecs_that_are_not_carried_are_refused_in_words() {
    let mut client = Client::open(&[]);
    client.publish_as_obs();
    client.asked();
    client.connection.admit(Instant::now()).unwrap();
    client.heard();
    let error = client
        .send(&message(kind::AUDIO, 1, b"\x90ac-3data"))
        .unwrap_err();
    assert_eq!(error.code(), "rtmp.unsupported_media");
    assert_eq!(client.heard(), ["onStatus NetStream.Publish.Failed"]);
}

#[test]
fn capabilities_of_enhanced_rtmp_are_told() {
    let mut client = Client::open(&obs());
    let output = client.connection.take_output();
    let mut reader = Reader::new(1 << 20);
    reader.push(&output[1 + 2 * 1536..]);
    let mut told = None;
    while let Some(message) = reader.next_message().unwrap() {
        if message.kind == kind::COMMAND {
            told = amf0::read(&message.payload).unwrap().pop();
        }
    }
    let told = told.unwrap();
    assert_eq!(told.get("capsEx"), Some(&Value::Number(14.0)));
    let video = told.get("videoFourCcInfoMap").unwrap();
    assert_eq!(video.get("hvc1"), Some(&Value::Number(4.0)));
}

#[test]
fn commands_in_amf3_are_understood() {
    let mut client = Client::open(&[("objectEncoding", Value::Number(3.0))]);
    let values = [
        Value::string("createStream"),
        Value::Number(2.0),
        Value::Null,
    ];
    let payload = [&[0][..], &amf0::write(&values)].concat();
    client.heard();
    client
        .send(&message(kind::COMMAND_AMF3, 0, &payload))
        .unwrap();
    assert_eq!(client.heard(), ["_result"]);
}

#[test]
fn a_player_is_asked_for_what_it_wants_and_told_it_plays() {
    let mut client = Client::open(&obs());
    client.command(
        0,
        &[
            Value::string("createStream"),
            Value::Number(2.0),
            Value::Null,
        ],
    );
    let play = [
        Value::string("play"),
        Value::Number(4.0),
        Value::Null,
        Value::string("cam"),
        Value::Number(-2000.0),
    ];
    client.command(1, &play);
    let (action, request) = client.asked();
    assert_eq!(
        (action, request.path.as_str()),
        (Action::Play, "v2/pub/cam")
    );
    client.heard();
    client.connection.admit_player(Instant::now()).unwrap();
    let told = [
        "event 0 1",
        "onStatus NetStream.Play.Reset",
        "onStatus NetStream.Play.Start",
        "|RtmpSampleAccess",
    ];
    assert_eq!(client.heard(), told);
}

#[test]
fn pings_are_answered_and_bytes_acknowledged() {
    let mut client = Client::open(&[]);
    client.heard();
    client
        .send(&control::user_control(control::PING_REQUEST, 77))
        .unwrap();
    assert_eq!(client.heard(), ["event 7 77"]);
    client.send(&control::window_size(10_000)).unwrap();
    client.send(&message(kind::DATA, 0, &[0; 6000])).unwrap();
    assert_eq!(client.heard(), ["kind 3"]);
}

#[test]
fn publishing_without_connecting_or_twice_is_out_of_order() {
    let mut client = Client::open(&[]);
    client.publish_as_obs();
    client.asked();
    client.connection.admit(Instant::now()).unwrap();
    let publish = [
        Value::string("publish"),
        Value::Number(9.0),
        Value::Null,
        Value::string("b"),
    ];
    let again = message(kind::COMMAND, 1, &amf0::write(&publish));
    assert_eq!(client.send(&again).unwrap_err().code(), "rtmp.out_of_order");
}
