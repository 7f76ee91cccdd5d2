//! `flags`: an array of the names that are set.

use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes the names that are set, in the order of the declaration.
///
/// # Errors
/// Those of the serializer.
pub fn write_flags<S: Serializer>(
    flags: &[(&'static str, bool)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(flags.iter().filter(|(_, set)| *set).map(|(name, _)| name))
}

/// Reads which of the names are set.
///
/// # Errors
/// If a name is not among them, or is there twice.
pub fn read_flags<'de, const N: usize, D: Deserializer<'de>>(
    names: &[&'static str; N],
    deserializer: D,
) -> Result<[bool; N], D::Error> {
    let mut set = [false; N];
    for name in Vec::<String>::deserialize(deserializer)? {
        let place = names.iter().position(|known| *known == name);
        match place.map(|place| &mut set[place]) {
            Some(flag @ false) => *flag = true,
            Some(true) => return Err(de::Error::custom(format!("flag {name:?} is there twice"))),
            None => {
                return Err(de::Error::custom(format!(
                    "unknown flag {name:?}; expected one of {}",
                    names.join(", ")
                )));
            }
        }
    }
    Ok(set)
}
