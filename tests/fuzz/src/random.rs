//! Numbers from a seed, the same ones for ever.

/// A stream of numbers that only its seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        // Seeds that lie side by side begin far from one another.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = self.number() % (end.max(1) as u64);
        usize::try_from(number).unwrap()
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.number().to_le_bytes());
        let mut bytes: Vec<u8> = words.take(count.div_ceil(8)).flatten().collect();
        bytes.truncate(count);
        bytes
    }

    /// A text that was trouble somewhere. It has no NUL, which Postgres knows no text with.
    pub fn text(&mut self) -> String {
        const TEXTS: &[&str] = &[
            "",
            " ",
            "a",
            "a b",
            "default",
            "go",
            "null",
            "true",
            "0",
            "-1",
            "1e9",
            "é",
            "💥",
            "\u{1}",
            "\u{202e}x",
            "\u{feff}",
            "'",
            "\"",
            "\\",
            "$$",
            ";",
            "%",
            "%s",
            "{}",
            "[]",
            "..",
            "/",
            "#",
            "a/b",
            "a#1",
            "a:b/c.d",
            "test:wild/wild.play",
            "play",
            "wild",
            "test:wild",
            "1s",
            "5m",
            "1d 12h",
            "99999999999999999999",
            "-9223372036854775808",
            "2026-01-01T00:00:00Z",
            "infinity",
            "NaN",
            "* * * * *",
            "UTC",
            "Europe/Paris",
            "--help",
            "--",
            "-",
            "@",
            "@/dev/null",
            "a=b",
            "=",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ];
        match self.below(12) {
            0 => "x".repeat(self.below(3_000)),
            1 => {
                let (a, b) = (*self.pick(TEXTS), *self.pick(TEXTS));
                format!("{a}{b}")
            }
            2 => {
                let count = self.below(8);
                let chars = std::iter::repeat_with(|| {
                    let code = u32::try_from(self.number() % 0x11_0000).unwrap();
                    char::from_u32(code).filter(|char| *char != '\0')
                });
                chars.flatten().take(count).collect()
            }
            _ => (*self.pick(TEXTS)).to_owned(),
        }
    }

    /// A number as JSON.
    fn json_number(&mut self) -> serde_json::Value {
        match self.below(5) {
            0 => serde_json::Value::from(self.number()),
            1 => serde_json::Value::from(-1),
            2 => serde_json::Value::from(f64::from_bits(self.number())),
            3 => serde_json::Value::from(0.5),
            _ => serde_json::Value::from(self.below(200)),
        }
    }

    /// JSON of some depth.
    pub fn json(&mut self, depth: usize) -> serde_json::Value {
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => serde_json::Value::Null,
            1 => serde_json::Value::Bool(self.one_in(2)),
            2 | 3 => self.json_number(),
            4 | 5 => serde_json::Value::String(self.text()),
            6 => {
                let count = self.below(4);
                (0..count).map(|_| self.json(depth - 1)).collect()
            }
            _ => {
                let count = self.below(4);
                let fields = (0..count).map(|_| (self.text(), self.json(depth - 1)));
                serde_json::Value::Object(fields.collect())
            }
        }
    }

    /// Changes a few bytes: turns bits, and takes, doubles, moves and puts in pieces.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let times = 1 + self.below(4);
        for _ in 0..times {
            let at = self.below(bytes.len());
            let length = 1 + self.below(32);
            let end = (at + length).min(bytes.len());
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = *self.pick(&[0, 1, 0x7f, 0x80, 0xff]),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    drop(bytes.splice(to..to, piece));
                }
                4 => {
                    let piece = self.bytes(length);
                    drop(bytes.splice(at..end, piece));
                }
                5 if self.one_in(8) => bytes.truncate(at),
                _ => {
                    // A length that is too great, as LEB128.
                    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
                    drop(bytes.splice(at..(at + 1).min(bytes.len()), huge));
                }
            }
        }
    }
}
