// Workflows of test:kinds: their types, and references to them. Written by `dacapo refs`.

#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod kinds {
    /// Returns what it is given.
    pub const ECHO: ::dacapo_client::WorkflowRef<
        super::kinds::Everything,
        super::kinds::Everything,
    > = ::dacapo_client::WorkflowRef::new("test:kinds/kinds.echo");
    pub const COUNT: ::dacapo_client::WorkflowRef<super::kinds::OrderId, u64> = ::dacapo_client::WorkflowRef::with_codec(
        "test:kinds/kinds.count",
        ::dacapo_client::json::encode::<
            super::kinds::OrderId,
            ::dacapo_client::json::Wide,
        >,
        ::dacapo_client::json::decode::<u64, ::dacapo_client::json::Wide>,
    );
    pub const SWAP: ::dacapo_client::WorkflowRef<(u64, u64), (u64, u64)> = ::dacapo_client::WorkflowRef::with_codec(
        "test:kinds/kinds.swap",
        ::dacapo_client::json::encode::<
            (u64, u64),
            ::dacapo_client::json::Tuple<
                (::dacapo_client::json::Wide, ::dacapo_client::json::Wide),
            >,
        >,
        ::dacapo_client::json::decode::<
            (u64, u64),
            ::dacapo_client::json::Tuple<
                (::dacapo_client::json::Wide, ::dacapo_client::json::Wide),
            >,
        >,
    );
    /// The error of the workflow `test:kinds/kinds.swap`.
    pub type SwapError = ::std::string::String;
    pub const NOTHING: ::dacapo_client::WorkflowRef<(), ()> = ::dacapo_client::WorkflowRef::new(
        "test:kinds/kinds.nothing",
    );
    pub const BARE: ::dacapo_client::WorkflowRef<(), ()> = ::dacapo_client::WorkflowRef::new(
        "test:kinds/kinds.bare",
    );
    pub const LOOP: ::dacapo_client::WorkflowRef<::std::vec::Vec<u8>, ()> = ::dacapo_client::WorkflowRef::with_codec(
        "test:kinds/kinds.loop",
        ::dacapo_client::json::encode::<
            ::std::vec::Vec<u8>,
            ::dacapo_client::json::Base64,
        >,
        ::dacapo_client::json::decode::<(), ::dacapo_client::json::Same>,
    );
    /// The error of the workflow `test:kinds/kinds.loop`.
    pub type LoopError = super::kinds::Shape;
    pub type Point = super::words::Point;
    pub type Shade = super::words::Colour;
    pub type Amount = super::test_shared_money::Amount;
    pub type OrderId = u64;
    pub type Ids = ::std::vec::Vec<super::kinds::OrderId>;
    #[derive(
        Debug,
        Clone,
        PartialEq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde", tag = "tag", content = "val")]
    pub enum Shape {
        #[serde(rename = "empty")]
        Empty,
        #[serde(rename = "circle")]
        Circle(
            #[serde(with = "::dacapo_client::json::As::<::dacapo_client::json::Double>")]
            f64,
        ),
        #[serde(rename = "polygon")]
        Polygon(::std::vec::Vec<super::kinds::Point>),
        #[serde(rename = "big")]
        Big(
            #[serde(with = "::dacapo_client::json::As::<::dacapo_client::json::Wide>")]
            u64,
        ),
        /// One that may have no value.
        #[serde(rename = "maybe")]
        Maybe(::std::option::Option<u32>),
        #[serde(rename = "pair")]
        Pair(
            #[serde(
                with = "::dacapo_client::json::As::<::dacapo_client::json::Tuple<(::dacapo_client::json::Wide, ::dacapo_client::json::Same, )>>"
            )]
            (u64, bool),
        ),
    }
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct Permission {
        pub read: bool,
        pub write: bool,
        pub run_it: bool,
    }
    impl ::dacapo_client::generated::serde::Serialize for Permission {
        fn serialize<S: ::dacapo_client::generated::serde::Serializer>(
            &self,
            serializer: S,
        ) -> ::std::result::Result<S::Ok, S::Error> {
            ::dacapo_client::json::write_flags(
                &[("read", self.read), ("write", self.write), ("run-it", self.run_it)],
                serializer,
            )
        }
    }
    impl<'de> ::dacapo_client::generated::serde::Deserialize<'de> for Permission {
        fn deserialize<D: ::dacapo_client::generated::serde::Deserializer<'de>>(
            deserializer: D,
        ) -> ::std::result::Result<Self, D::Error> {
            let [read, write, run_it] = ::dacapo_client::json::read_flags(
                &["read", "write", "run-it"],
                deserializer,
            )?;
            ::std::result::Result::Ok(Self { read, write, run_it })
        }
    }
    #[derive(
        Debug,
        Clone,
        PartialEq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct Everything {
        #[serde(rename = "truth")]
        pub truth: bool,
        #[serde(rename = "tiny")]
        pub tiny: i8,
        #[serde(
            rename = "large",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Wide>"
        )]
        pub large: i64,
        #[serde(
            rename = "uLarge",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Wide>"
        )]
        pub u_large: u64,
        #[serde(
            rename = "single",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Single>"
        )]
        pub single: f32,
        #[serde(
            rename = "double",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Double>"
        )]
        pub double: f64,
        #[serde(rename = "letter")]
        pub letter: char,
        #[serde(rename = "text")]
        pub text: ::std::string::String,
        #[serde(
            rename = "bytes",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Base64>"
        )]
        pub bytes: ::std::vec::Vec<u8>,
        #[serde(
            rename = "pin",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Array<::dacapo_client::json::Same>>"
        )]
        pub pin: [u16; 3],
        #[serde(
            rename = "ids",
            with = "::dacapo_client::json::As::<::dacapo_client::json::List<::dacapo_client::json::Wide>>"
        )]
        pub ids: super::kinds::Ids,
        #[serde(rename = "table")]
        pub table: ::std::vec::Vec<::std::vec::Vec<u32>>,
        #[serde(
            rename = "photos",
            with = "::dacapo_client::json::As::<::dacapo_client::json::List<::dacapo_client::json::Base64>>"
        )]
        pub photos: ::std::vec::Vec<::std::vec::Vec<u8>>,
        #[serde(rename = "pair")]
        pub pair: (u32, ::std::string::String),
        #[serde(
            rename = "widePair",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Tuple<(::dacapo_client::json::Wide, ::dacapo_client::json::Base64, )>>"
        )]
        pub wide_pair: (u64, ::std::vec::Vec<u8>),
        #[serde(
            rename = "maybe",
            default,
            skip_serializing_if = "::std::option::Option::is_none"
        )]
        pub maybe: ::std::option::Option<u32>,
        #[serde(
            rename = "maybeWide",
            default,
            skip_serializing_if = "::std::option::Option::is_none",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Maybe<::dacapo_client::json::Wide>>"
        )]
        pub maybe_wide: ::std::option::Option<u64>,
        #[serde(
            rename = "maybeMaybe",
            default,
            skip_serializing_if = "::std::option::Option::is_none",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Nested<::dacapo_client::json::Same>>"
        )]
        pub maybe_maybe: ::std::option::Option<
            ::std::option::Option<::std::string::String>,
        >,
        #[serde(
            rename = "maybeMaybeWide",
            default,
            skip_serializing_if = "::std::option::Option::is_none",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Nested<::dacapo_client::json::Nested<::dacapo_client::json::Maybe<::dacapo_client::json::Wide>>>>"
        )]
        pub maybe_maybe_wide: ::std::option::Option<
            ::std::option::Option<::std::option::Option<u64>>,
        >,
        #[serde(rename = "shape")]
        pub shape: super::kinds::Shape,
        #[serde(rename = "shapes")]
        pub shapes: ::std::vec::Vec<super::kinds::Shape>,
        #[serde(rename = "shade")]
        pub shade: super::kinds::Shade,
        #[serde(rename = "permission")]
        pub permission: super::kinds::Permission,
        #[serde(
            rename = "outcome",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Outcome<::dacapo_client::json::Wide, ::dacapo_client::json::Same>>"
        )]
        pub outcome: ::std::result::Result<u64, ::std::string::String>,
        #[serde(
            rename = "outcomeOk",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Outcome<::dacapo_client::json::Same, ::dacapo_client::json::Same>>"
        )]
        pub outcome_ok: ::std::result::Result<u32, ()>,
        #[serde(
            rename = "outcomeErr",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Outcome<::dacapo_client::json::Same, ::dacapo_client::json::Base64>>"
        )]
        pub outcome_err: ::std::result::Result<(), ::std::vec::Vec<u8>>,
        #[serde(
            rename = "outcomeBare",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Outcome<::dacapo_client::json::Same, ::dacapo_client::json::Same>>"
        )]
        pub outcome_bare: ::std::result::Result<(), ()>,
        #[serde(rename = "type")]
        pub r#type: super::kinds::Amount,
    }
}
#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod test_shared_money {
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct Amount {
        #[serde(
            rename = "cents",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Wide>"
        )]
        pub cents: i64,
        #[serde(rename = "currency")]
        pub currency: ::std::string::String,
    }
}
/// Words that others use.
#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod words {
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct Point {
        #[serde(rename = "x")]
        pub x: i32,
        #[serde(rename = "y")]
        pub y: i32,
    }
    #[derive(Copy, Hash)]
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub enum Colour {
        #[serde(rename = "red")]
        Red,
        #[serde(rename = "green")]
        Green,
        #[serde(rename = "dark-blue")]
        DarkBlue,
    }
}
