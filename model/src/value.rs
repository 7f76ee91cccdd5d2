//! Values of component-model types, without the types: a [`Value`] means something only beside its [`Type`](crate::Type).

/// A value of a component-model type.
///
/// Two values are equal if they are the same bits: `-0.0` differs from `0.0`, and a NaN equals itself.
#[derive(Debug, Clone)]
pub enum Value {
    /// A `bool`.
    Bool(bool),
    /// A `u8`.
    U8(u8),
    /// A `u16`.
    U16(u16),
    /// A `u32`.
    U32(u32),
    /// A `u64`.
    U64(u64),
    /// An `s8`.
    S8(i8),
    /// An `s16`.
    S16(i16),
    /// An `s32`.
    S32(i32),
    /// An `s64`.
    S64(i64),
    /// An `f32`.
    F32(f32),
    /// An `f64`.
    F64(f64),
    /// A `char`.
    Char(char),
    /// A `string`.
    String(String),
    /// A `list<u8>`.
    Bytes(Vec<u8>),
    /// Any other list, of a fixed length or not.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A record: one value for each field, in the order of the declaration.
    Record(Vec<Value>),
    /// A variant: the index of the case, and its payload if it has one.
    Variant(u32, Option<Box<Value>>),
    /// An enum: the index of the case.
    Enum(u32),
    /// Flags: one bool for each flag, in the order of the declaration.
    Flags(Vec<bool>),
    /// An option.
    Option(Option<Box<Value>>),
    /// A result; each side has a payload or not, as its type says.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::U8(a), Self::U8(b)) => a == b,
            (Self::U16(a), Self::U16(b)) => a == b,
            (Self::U32(a), Self::U32(b)) | (Self::Enum(a), Self::Enum(b)) => a == b,
            (Self::U64(a), Self::U64(b)) => a == b,
            (Self::S8(a), Self::S8(b)) => a == b,
            (Self::S16(a), Self::S16(b)) => a == b,
            (Self::S32(a), Self::S32(b)) => a == b,
            (Self::S64(a), Self::S64(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b))
            | (Self::Tuple(a), Self::Tuple(b))
            | (Self::Record(a), Self::Record(b)) => a == b,
            (Self::Variant(a, x), Self::Variant(b, y)) => a == b && x == y,
            (Self::Flags(a), Self::Flags(b)) => a == b,
            (Self::Option(a), Self::Option(b)) => a == b,
            (Self::Result(a), Self::Result(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}
