//! Postgres' protocol, as far as it takes to stand between a client and its server.

use std::collections::VecDeque;

/// What a client sends in one go: up to the point where it waits for an answer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) parts: Vec<Part>,
}

/// A message of a client.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Prepares a statement: its name, its text, and the types of its parameters.
    Parse {
        name: String,
        sql: String,
        types: Vec<u8>,
    },
    /// Asks what a statement takes and answers.
    DescribeStatement { name: String },
    /// Gives a statement its parameters.
    Bind {
        portal: String,
        statement: String,
        rest: Vec<u8>,
    },
    /// Carries a statement out.
    Execute(Vec<u8>),
    /// A statement in one message.
    Query(String),
    /// The end of a request.
    Sync,
    /// Anything else, as it came.
    Other(Vec<u8>),
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The first message of a connection.
    Hello(Vec<u8>),
    Request(Request),
    /// The client says goodbye.
    Bye,
}

/// Takes whatever is complete out of the bytes that came in.
pub(crate) fn take(bytes: &mut Vec<u8>, is_new: bool) -> VecDeque<Incoming> {
    let mut came = VecDeque::new();
    let mut at = 0;
    if is_new {
        match length(bytes, 0) {
            Some(length) if bytes.len() >= length => {
                came.push_back(Incoming::Hello(bytes[..length].to_vec()));
                at = length;
            }
            _ => return came,
        }
    }
    let (mut parts, mut whole) = (Vec::new(), at);
    while let Some(length) = length(bytes, at + 1).filter(|length| bytes.len() > at + length) {
        let message = &bytes[at..=at + length];
        at += 1 + length;
        if message[0] == b'X' {
            came.push_back(Incoming::Bye);
            whole = at;
            continue;
        }
        let part = part(message);
        let is_end = matches!(part, Part::Sync | Part::Query(_));
        parts.push(part);
        if is_end {
            let parts = std::mem::take(&mut parts);
            came.push_back(Incoming::Request(Request { parts }));
            whole = at;
        }
    }
    bytes.drain(..whole);
    came
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]) as usize)
}

fn part(message: &[u8]) -> Part {
    let body = &message[5..];
    match message[0] {
        b'P' => {
            let (name, rest) = text(body);
            let (sql, types) = text(rest);
            Part::Parse {
                name,
                sql,
                types: types.to_vec(),
            }
        }
        b'D' if body.first() == Some(&b'S') => Part::DescribeStatement {
            name: text(&body[1..]).0,
        },
        b'B' => {
            let (portal, rest) = text(body);
            let (statement, rest) = text(rest);
            Part::Bind {
                portal,
                statement,
                rest: rest.to_vec(),
            }
        }
        b'E' => Part::Execute(message.to_vec()),
        b'Q' => Part::Query(text(body).0),
        b'S' => Part::Sync,
        _ => Part::Other(message.to_vec()),
    }
}

/// A text that ends with a zero, and what follows it.
pub(crate) fn text(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), rest)
}

/// Who begins a connection with this message.
pub(crate) fn user(hello: &[u8]) -> String {
    let mut rest = hello.get(8..).unwrap_or_default();
    while !rest.is_empty() {
        let (name, after) = text(rest);
        let (value, after) = text(after);
        if name == "user" {
            return value;
        }
        rest = after;
    }
    String::new()
}

/// A message.
pub(crate) fn message(tag: u8, body: &[&[u8]]) -> Vec<u8> {
    let length = 4 + body.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length + 1);
    bytes.push(tag);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    for part in body {
        bytes.extend_from_slice(part);
    }
    bytes
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), &[0]])
}

pub(crate) fn parse(name: &str, sql: &str, types: &[u8]) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), &[0], sql.as_bytes(), &[0], types])
}

pub(crate) fn describe(name: &str) -> Vec<u8> {
    message(b'D', &[b"S", name.as_bytes(), &[0]])
}

pub(crate) fn bind(portal: &str, statement: &str, rest: &[u8]) -> Vec<u8> {
    message(
        b'B',
        &[portal.as_bytes(), &[0], statement.as_bytes(), &[0], rest],
    )
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub(crate) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[&[status]])
}

pub(crate) fn parsed() -> Vec<u8> {
    message(b'1', &[])
}

pub(crate) fn done(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), &[0]])
}

/// An error of the server.
pub(crate) fn error(code: &str, text: &str) -> Vec<u8> {
    let fields = [("S", "ERROR"), ("V", "ERROR"), ("C", code), ("M", text)];
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    message(b'E', &[&body])
}

/// The messages in what a server has answered.
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = length(bytes, at + 1)?;
        let body = bytes.get(at + 5..=at + length)?;
        let tag = bytes[at];
        at += 1 + length;
        Some((tag, body))
    })
}

/// How long the first message is, if it is whole.
pub(crate) fn first_length(bytes: &[u8]) -> Option<usize> {
    let length = length(bytes, 1)? + 1;
    (bytes.len() >= length).then_some(length)
}

/// The code and the text of an error in an answer, if there is one.
pub(crate) fn error_in(answer: &[u8]) -> Option<(String, String)> {
    let (_, body) = messages(answer).find(|(tag, _)| *tag == b'E')?;
    let code = field(body, b'C').unwrap_or_default();
    Some((code, field(body, b'M').unwrap_or_default()))
}

/// What a message says if it is one of those that a server writes to its log, and to its clients only if it is told to.
pub(crate) fn logged(message: &[u8]) -> Option<String> {
    let (tag, body) = messages(message).next()?;
    (tag == b'N' && field(body, b'V')? == "LOG").then(|| field(body, b'M').unwrap_or_default())
}

/// A field of an error or a notice.
fn field(mut body: &[u8], wanted: u8) -> Option<String> {
    while let Some((&field, rest)) = body.split_first()
        && field != 0
    {
        let (value, rest) = text(rest);
        if field == wanted {
            return Some(value);
        }
        body = rest;
    }
    None
}

/// The rows of an answer in text form.
pub(crate) fn rows(answer: &[u8]) -> Vec<Vec<Option<String>>> {
    messages(answer)
        .filter(|(tag, _)| *tag == b'D')
        .map(|(_, body)| row(body))
        .collect()
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut row = Vec::new();
    while rest.len() >= 4 {
        let length = i32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]);
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                let value = rest.get(..length).unwrap_or_default();
                row.push(Some(String::from_utf8_lossy(value).into_owned()));
                rest = rest.get(length..).unwrap_or_default();
            }
            Err(_) => row.push(None),
        }
    }
    row
}

/// The first parameter of a statement, if it is an id in binary form.
pub(crate) fn first_uuid(bind_rest: &[u8]) -> Option<uuid::Uuid> {
    let count = |at: usize| {
        let two = bind_rest.get(at..at + 2)?;
        Some(u16::from_be_bytes([two[0], two[1]]) as usize)
    };
    let formats = count(0)?;
    let at = 2 + 2 * formats;
    if count(at)? == 0 {
        return None;
    }
    let at = at + 2;
    let length = length(bind_rest, at)?;
    if length != 16 {
        return None;
    }
    uuid::Uuid::from_slice(bind_rest.get(at + 4..at + 20)?).ok()
}
