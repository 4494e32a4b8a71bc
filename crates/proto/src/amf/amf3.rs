//! AMF 3, read only: commands of clients that say `objectEncoding` 3.
//!
//! An AMF 3 command is a zero byte, then AMF 0 values in which the marker 0x11 switches to AMF 3.
//! References to strings and traits are followed; references to objects read as undefined, because
//! no command uses them and a graph could be made endless with them.

use super::{AmfError, Budget, Cursor, Value};

/// What references point to.
#[derive(Debug, Default)]
pub(super) struct Tables {
    strings: Vec<String>,
    traits: Vec<Traits>,
}

#[derive(Debug, Clone, Default)]
struct Traits {
    dynamic: bool,
    names: Vec<String>,
}

/// A number of up to 29 bits, seven a byte and eight in the fourth (§1.3.1).
fn u29(cursor: &mut Cursor<'_>) -> Result<u32, AmfError> {
    let mut number = 0;
    for _ in 0..3 {
        let byte = cursor.byte()?;
        number = number << 7 | u32::from(byte & 0x7f);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Ok(number << 8 | u32::from(cursor.byte()?))
}

pub(super) fn value(
    cursor: &mut Cursor<'_>,
    tables: &mut Tables,
    budget: &mut Budget,
) -> Result<Value, AmfError> {
    budget.value()?;
    Ok(match cursor.byte()? {
        0x00 => Value::Undefined,
        0x01 => Value::Null,
        0x02 => Value::Boolean(false),
        0x03 => Value::Boolean(true),
        // Signed in 29 bits.
        0x04 => Value::Number(f64::from((u29(cursor)? << 3).cast_signed() >> 3)),
        0x05 => Value::Number(cursor.double()?),
        0x06 => Value::String(string(cursor, tables, budget)?),
        0x07 | 0x0b => match inline(cursor)? {
            Some(len) => Value::String(cursor.text(len)?),
            None => Value::Undefined,
        },
        0x08 => match inline(cursor)? {
            Some(_) => Value::Date(cursor.double()?),
            None => Value::Undefined,
        },
        0x09 => array(cursor, tables, budget)?,
        0x0a => object(cursor, tables, budget)?,
        0x0c => match inline(cursor)? {
            Some(len) => Value::Bytes(cursor.take(len)?.to_vec()),
            None => Value::Undefined,
        },
        other => return Err(AmfError::Type(other)),
    })
}

/// The length of a value that follows, or nothing when it is a reference.
fn inline(cursor: &mut Cursor<'_>) -> Result<Option<usize>, AmfError> {
    let head = u29(cursor)?;
    Ok((head & 1 == 1).then_some((head >> 1) as usize))
}

fn string(
    cursor: &mut Cursor<'_>,
    tables: &mut Tables,
    budget: &mut Budget,
) -> Result<String, AmfError> {
    let head = u29(cursor)?;
    if head & 1 == 0 {
        let known = tables.strings.get((head >> 1) as usize);
        let known = known.ok_or(AmfError::Truncated)?;
        let left = budget.repeated.checked_sub(known.len());
        budget.repeated = left.ok_or(AmfError::TooLarge)?;
        return Ok(known.clone());
    }
    let text = cursor.text((head >> 1) as usize)?;
    if !text.is_empty() {
        tables.strings.push(text.clone());
    }
    Ok(text)
}

fn array(
    cursor: &mut Cursor<'_>,
    tables: &mut Tables,
    budget: &mut Budget,
) -> Result<Value, AmfError> {
    let Some(count) = inline(cursor)? else {
        return Ok(Value::Undefined);
    };
    budget.enter()?;
    let mut named = Vec::new();
    loop {
        let name = string(cursor, tables, budget)?;
        if name.is_empty() {
            break;
        }
        named.push((name, value(cursor, tables, budget)?));
    }
    if count > cursor.0.len() {
        return Err(AmfError::Truncated);
    }
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(value(cursor, tables, budget)?);
    }
    budget.leave();
    if named.is_empty() {
        return Ok(Value::Array(items));
    }
    let counted = items.into_iter().enumerate();
    named.extend(counted.map(|(index, item)| (index.to_string(), item)));
    Ok(Value::EcmaArray(named))
}

fn object(
    cursor: &mut Cursor<'_>,
    tables: &mut Tables,
    budget: &mut Budget,
) -> Result<Value, AmfError> {
    let head = u29(cursor)?;
    if head & 1 == 0 {
        return Ok(Value::Undefined);
    }
    budget.enter()?;
    let traits = if head & 2 == 0 {
        let known = tables.traits.get((head >> 2) as usize);
        known.cloned().ok_or(AmfError::Truncated)?
    } else {
        if head & 4 != 0 {
            return Err(AmfError::Type(0x0a)); // externalizable: only its class can read it
        }
        read_traits(head, cursor, tables, budget)?
    };
    let mut members = Vec::new();
    for name in traits.names {
        members.push((name, value(cursor, tables, budget)?));
    }
    if traits.dynamic {
        loop {
            let name = string(cursor, tables, budget)?;
            if name.is_empty() {
                break;
            }
            members.push((name, value(cursor, tables, budget)?));
        }
    }
    budget.leave();
    Ok(Value::Object(members))
}

fn read_traits(
    head: u32,
    cursor: &mut Cursor<'_>,
    tables: &mut Tables,
    budget: &mut Budget,
) -> Result<Traits, AmfError> {
    string(cursor, tables, budget)?; // class name
    let count = (head >> 4) as usize;
    if count > cursor.0.len() {
        return Err(AmfError::Truncated);
    }
    let mut names = Vec::new();
    for _ in 0..count {
        budget.value()?;
        names.push(string(cursor, tables, budget)?);
    }
    let dynamic = head & 8 != 0;
    let traits = Traits { dynamic, names };
    // A copy of it is made for each object that refers to it, which costs a value a name.
    tables.traits.push(traits.clone());
    Ok(traits)
}

#[cfg(test)]
mod tests {
    use super::super::amf0;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_inside_an_amf0_command_is_read() {
        // {app: "live", codec: 7, again: "live"}: dynamic, no class; the last string is a reference.
        let bytes = b"\x11\x0a\x0b\x01\x07app\x06\x09live\x0bcodec\x04\x07\x0bagain\x06\x02\x01";
        let values = amf0::read(bytes).unwrap();
        assert_eq!(values[0].get("app"), Some(&Value::string("live")));
        assert_eq!(values[0].get("codec"), Some(&Value::Number(7.0)));
        assert_eq!(values[0].get("again"), Some(&Value::string("live")));
    }

    #[test]
    fn integers_have_a_sign() {
        assert_eq!(
            amf0::read(b"\x11\x04\xff\xff\xff\xff"),
            Ok(vec![Value::Number(-1.0)])
        );
        assert_eq!(
            amf0::read(b"\x11\x04\x81\x00"),
            Ok(vec![Value::Number(128.0)])
        );
    }

    #[test]
    fn a_string_repeated_by_reference_does_not_grow_without_end() {
        let mut bytes = b"\x11\x09\xbe\x41\x01".to_vec(); // an array of 4000
        bytes.extend_from_slice(b"\x06\xbe\x41");
        bytes.extend_from_slice(&[b'x'; 4000]);
        bytes.extend_from_slice(&b"\x06\x00".repeat(3999));
        assert_eq!(amf0::read(&bytes), Err(AmfError::TooLarge));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            start in prop::sample::select(vec![&b"\x11"[..], b"\x11\x0a\x0b\x01", b"\x11\x09\x09\x01"]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = amf0::read(&[start, &bytes].concat());
        }
    }
}
