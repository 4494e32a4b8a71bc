//! AMF 0: a type byte, then the value.

use super::{AmfError, Budget, Cursor, Value, amf3};

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;
const DATE: u8 = 0x0b;
const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML: u8 = 0x0f;
const TYPED_OBJECT: u8 = 0x10;
const AVMPLUS: u8 = 0x11;

/// All values of a message.
pub fn read(message: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut cursor = Cursor(message);
    let mut budget = Budget::new();
    let mut values = Vec::new();
    while !cursor.0.is_empty() {
        values.push(value(&mut cursor, &mut budget)?);
    }
    Ok(values)
}

fn value(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value, AmfError> {
    budget.value()?;
    Ok(match cursor.byte()? {
        NUMBER => Value::Number(cursor.double()?),
        BOOLEAN => Value::Boolean(cursor.byte()? != 0),
        STRING => Value::String(short_text(cursor)?),
        LONG_STRING | XML => {
            let len = cursor.long()?;
            Value::String(cursor.text(len)?)
        }
        OBJECT => Value::Object(members(cursor, budget)?),
        TYPED_OBJECT => {
            short_text(cursor)?;
            Value::Object(members(cursor, budget)?)
        }
        ECMA_ARRAY => {
            // The count is a hint that encoders get wrong; the end marker decides.
            cursor.long()?;
            Value::EcmaArray(members(cursor, budget)?)
        }
        STRICT_ARRAY => Value::Array(items(cursor, budget)?),
        DATE => {
            let date = cursor.double()?;
            cursor.short()?; // time zone, reserved
            Value::Date(date)
        }
        NULL => Value::Null,
        UNDEFINED | UNSUPPORTED => Value::Undefined,
        REFERENCE => {
            cursor.short()?;
            Value::Undefined
        }
        AVMPLUS => amf3::value(cursor, &mut amf3::Tables::default(), budget)?,
        other => return Err(AmfError::Type(other)),
    })
}

fn short_text(cursor: &mut Cursor<'_>) -> Result<String, AmfError> {
    let len = cursor.short()?;
    cursor.text(len)
}

fn members(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Vec<(String, Value)>, AmfError> {
    budget.enter()?;
    let mut members = Vec::new();
    // Some encoders end their metadata without the end marker.
    while !cursor.0.is_empty() {
        let name = short_text(cursor)?;
        if name.is_empty() && cursor.0.first() == Some(&OBJECT_END) {
            cursor.byte()?;
            break;
        }
        members.push((name, value(cursor, budget)?));
    }
    budget.leave();
    Ok(members)
}

fn items(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Vec<Value>, AmfError> {
    let count = cursor.long()?;
    if count > cursor.0.len() {
        return Err(AmfError::Truncated);
    }
    budget.enter()?;
    let items = (0..count)
        .map(|_| value(cursor, budget))
        .collect::<Result<_, _>>()?;
    budget.leave();
    Ok(items)
}

/// A message of these values.
pub fn write(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        write_value(&mut out, value);
    }
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => marked(out, NUMBER, &number.to_be_bytes()),
        Value::Boolean(on) => marked(out, BOOLEAN, &[u8::from(*on)]),
        Value::String(text) => write_string(out, text.as_bytes()),
        // There are no bytes in AMF 0, and text that is none would not read the same.
        Value::Bytes(bytes) => write_string(out, String::from_utf8_lossy(bytes).as_bytes()),
        Value::Object(members) => {
            out.push(OBJECT);
            write_members(out, members);
        }
        Value::EcmaArray(members) => {
            marked(out, ECMA_ARRAY, &(members.len() as u32).to_be_bytes());
            write_members(out, members);
        }
        Value::Array(items) => {
            marked(out, STRICT_ARRAY, &(items.len() as u32).to_be_bytes());
            for item in items {
                write_value(out, item);
            }
        }
        Value::Date(date) => {
            marked(out, DATE, &date.to_be_bytes());
            out.extend_from_slice(&[0, 0]);
        }
        Value::Null => out.push(NULL),
        Value::Undefined => out.push(UNDEFINED),
    }
}

fn marked(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.push(marker);
    out.extend_from_slice(body);
}

fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    if let Ok(len) = u16::try_from(text.len()) {
        marked(out, STRING, &len.to_be_bytes());
    } else {
        marked(out, LONG_STRING, &(text.len() as u32).to_be_bytes());
    }
    out.extend_from_slice(text);
}

fn write_members(out: &mut Vec<u8>, members: &[(String, Value)]) {
    for (name, value) in members {
        let mut len = name.len().min(usize::from(u16::MAX));
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        out.extend_from_slice(&(len as u16).to_be_bytes());
        out.extend_from_slice(&name.as_bytes()[..len]);
        write_value(out, value);
    }
    out.extend_from_slice(&[0, 0, OBJECT_END]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A `connect` as OBS (librtmp) writes it.
    #[test]
    fn a_connect_command_is_read() {
        let mut message = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x03".to_vec();
        message.extend_from_slice(b"\x00\x03app\x02\x00\x04live\x00\x0bvideoCodecs\x00");
        message.extend_from_slice(&252.0f64.to_be_bytes());
        message.extend_from_slice(b"\x00\x0afourCcList\x0a\x00\x00\x00\x02\x02\x00\x04av01");
        message.extend_from_slice(b"\x02\x00\x04hvc1\x00\x00\x09");
        let values = read(&message).unwrap();
        assert_eq!(values[0].as_str(), Some("connect"));
        assert_eq!(values[1].as_number(), Some(1.0));
        assert_eq!(values[2].get("app").and_then(Value::as_str), Some("live"));
        let codecs = [Value::string("av01"), Value::string("hvc1")];
        assert_eq!(
            values[2].get("fourCcList"),
            Some(&Value::Array(codecs.into()))
        );
    }

    #[test]
    fn objects_within_objects_without_end_are_refused() {
        let message = b"\x03\x00\x01a".repeat(1000);
        assert_eq!(read(&message), Err(AmfError::TooLarge));
    }

    #[test]
    fn bytes_and_long_names_are_written_as_text_that_reads_the_same() {
        let name = "a".to_owned() + &"ä".repeat(40_000);
        let bytes = Value::Bytes(vec![0xb2, 0xe0, 0x85]);
        let written = write(&[Value::Object(vec![(name, bytes)])]);
        let again = read(&written).unwrap();
        assert_eq!(write(&again), written);
    }

    #[test]
    fn an_array_that_promises_more_than_there_is_allocates_nothing() {
        assert_eq!(read(b"\x0a\xff\xff\xff\xff\x05"), Err(AmfError::Truncated));
    }

    #[test]
    fn a_message_of_very_many_values_is_refused() {
        assert_eq!(read(&[NULL; 5000]), Err(AmfError::TooLarge));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e12..1e12).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            "[a-z]{0,20}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            (0.0..1e15).prop_map(Value::Date),
        ];
        leaf.prop_recursive(3, 32, 6, |inner| {
            let members = || prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..6);
            prop_oneof![
                members().prop_map(Value::Object),
                members().prop_map(Value::EcmaArray),
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(values in prop::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(read(&write(&values)), Ok(values));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
