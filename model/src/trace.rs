//! Places in distributed traces, as they are handed on.

use std::fmt;

/// The label of a run that says in which trace its span belongs, and below which span, as the header of that name does:
/// `00-<trace, 32 hexadecimal digits>-<span, 16>-<flags, 2>`.
pub const TRACE_PARENT: &str = "traceparent";

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracePlace {
    /// The trace.
    pub trace: [u8; 16],
    /// The span in it.
    pub span: [u8; 8],
    /// Flags: the lowest bit is whether somebody wants to see it.
    pub flags: u8,
}

impl TracePlace {
    /// Whether somebody wants to see the spans below it.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// The place that a text says; none if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let place = Self {
            trace: hexadecimal(trace)?,
            span: hexadecimal(span)?,
            flags: hexadecimal::<1>(flags)?[0],
        };
        // A newer version may say more at the end; none may be all zeros, and `ff` is no version.
        let is_known = hexadecimal::<1>(version)? != [0xff]
            && (version != "00" || parts.next().is_none())
            && place.trace != [0; 16]
            && place.span != [0; 8];
        is_known.then_some(place)
    }
}

impl fmt::Display for TracePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.span {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", self.flags)
    }
}

fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Whether a text is a place in a trace, as [`TRACE_PARENT`] wants it.
#[must_use]
pub fn is_trace_parent(text: &str) -> bool {
    TracePlace::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_trace_survives_text_and_what_is_none_is_not_taken() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TracePlace::parse(text).unwrap().to_string(), text);
        assert!(TracePlace::parse(&format!("{text}-more").replacen("00-", "01-", 1)).is_some());
        for other in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TracePlace::parse(other), None, "{other}");
        }
    }
}
