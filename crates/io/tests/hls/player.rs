//! A player: one connection, requests and answers as bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::source::House;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough that an answer that does not wait would have come.
const QUIET: Duration = Duration::from_millis(150);

pub struct Player {
    socket: TcpStream,
    read: Vec<u8>,
    methods: std::collections::VecDeque<String>,
}

pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a text")
    }
}

impl Player {
    pub fn new(house: &House) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", house.port())).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            read: Vec::new(),
            methods: std::collections::VecDeque::new(),
        }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    pub fn get_with(&mut self, path: &str, headers: &str) -> Answer {
        self.request("GET", path, headers)
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &str) -> Answer {
        self.methods.push_back(method.to_owned());
        self.send_raw(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
        self.receive()
    }

    pub fn send(&mut self, path: &str) {
        self.methods.push_back("GET".to_owned());
        self.send_raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    pub fn nothing_comes(&mut self) -> bool {
        self.socket.set_read_timeout(Some(QUIET)).unwrap();
        let nothing = self.fill().is_none();
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        nothing
    }

    /// Reads something; `None` when nothing comes in time.
    fn fill(&mut self) -> Option<usize> {
        let mut buffer = [0; 8192];
        match self.socket.read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                Some(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(_) => Some(0),
        }
    }

    pub fn receive(&mut self) -> Answer {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let count = self.fill().expect("an answer in time");
            assert!(count > 0, "closed without an answer");
        };
        let text = String::from_utf8(self.read[..head].to_vec()).expect("a head is text");
        self.read.drain(..head + 4);
        let mut lines = text.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let method = self.methods.pop_front();
        let len = answer
            .header("content-length")
            .map_or(0, |len| len.parse().unwrap());
        if method.as_deref() != Some("HEAD") {
            while self.read.len() < len {
                let count = self.fill().expect("a body in time");
                assert!(count > 0, "closed within a body");
            }
            answer.body = self.read.drain(..len).collect();
        }
        answer
    }

    /// Whether the server ends the connection and nothing was left over.
    pub fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.fill() == Some(0)
    }
}

/// Number of the open segment, and how many parts it has.
pub fn position(playlist: &str) -> (u64, u32) {
    let first = playlist
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let mut open = first.expect("a number").parse().unwrap();
    let mut parts = 0;
    for line in playlist.lines() {
        if line.starts_with("#EXT-X-PART:") {
            parts += 1;
        } else if !line.starts_with('#') {
            (open, parts) = (open + 1, 0);
        }
    }
    (open, parts)
}

/// The address of the part that comes next.
pub fn hint(playlist: &str) -> String {
    let hint = playlist
        .lines()
        .find(|line| line.starts_with("#EXT-X-PRELOAD-HINT"));
    let uri = hint.expect("a hint").split('"').nth(1).unwrap();
    uri.to_owned()
}
