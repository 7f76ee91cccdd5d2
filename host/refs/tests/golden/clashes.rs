// Workflows of test:clashes: their types, and references to them. Written by `dacapo refs`.

#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod billing {
    pub const TAKE: ::dacapo_client::WorkflowRef<
        super::billing::Item,
        super::billing::Literal,
    > = ::dacapo_client::WorkflowRef::new("test:clashes/billing.take");
    pub const AWAIT: ::dacapo_client::WorkflowRef<
        (),
        (super::billing::Sequence, ::std::option::Option<super::billing::Literal>),
    > = ::dacapo_client::WorkflowRef::new("test:clashes/billing.await");
    /// The error of the workflow `test:clashes/billing.await`.
    pub type AwaitError = u64;
    impl ::dacapo_client::Event for TakeEvents {}
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct Item {
        #[serde(
            rename = "cents",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Wide>"
        )]
        pub cents: u64,
    }
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde", tag = "tag", content = "val")]
    pub enum Literal {
        #[serde(rename = "some")]
        Some(u8),
        #[serde(rename = "none")]
        None,
        #[serde(rename = "item")]
        Item(super::billing::Item),
    }
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct Sequence {
        pub first: bool,
        pub last: bool,
    }
    impl ::dacapo_client::generated::serde::Serialize for Sequence {
        fn serialize<S: ::dacapo_client::generated::serde::Serializer>(
            &self,
            serializer: S,
        ) -> ::std::result::Result<S::Ok, S::Error> {
            ::dacapo_client::json::write_flags(
                &[("first", self.first), ("last", self.last)],
                serializer,
            )
        }
    }
    impl<'de> ::dacapo_client::generated::serde::Deserialize<'de> for Sequence {
        fn deserialize<D: ::dacapo_client::generated::serde::Deserializer<'de>>(
            deserializer: D,
        ) -> ::std::result::Result<Self, D::Error> {
            let [first, last] = ::dacapo_client::json::read_flags(
                &["first", "last"],
                deserializer,
            )?;
            ::std::result::Result::Ok(Self { first, last })
        }
    }
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde", tag = "tag", content = "val")]
    pub enum TakeEvents {
        #[serde(rename = "paid")]
        Paid(super::billing::Item),
        /// Nobody did.
        #[serde(rename = "not-paid")]
        NotPaid,
    }
}
#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod stock {
    /// Takes an item: one
    /// of many.
    pub const TAKE: ::dacapo_client::WorkflowRef<
        super::stock::Item,
        super::stock::Ref,
    > = ::dacapo_client::WorkflowRef::new("test:clashes/stock.take");
    pub const WHY: ::dacapo_client::WorkflowRef<super::stock::TakeError, ()> = ::dacapo_client::WorkflowRef::new(
        "test:clashes/stock.why",
    );
    /// What "we" have.
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct Item {
        #[serde(rename = "sku")]
        pub sku: ::std::string::String,
        /// Where it is from: c:\shelf */
        #[serde(rename = "from")]
        pub from: ::std::string::String,
        #[serde(
            rename = "class",
            default,
            skip_serializing_if = "::std::option::Option::is_none",
            with = "::dacapo_client::json::As::<::dacapo_client::json::Nested<::dacapo_client::json::Same>>"
        )]
        pub class: ::std::option::Option<::std::option::Option<bool>>,
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
    pub enum None {
        #[serde(rename = "sold-out")]
        SoldOut,
        #[serde(rename = "never-heard-of")]
        NeverHeardOf,
    }
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct Ref {
        #[serde(rename = "id")]
        pub id: ::std::string::String,
    }
    #[derive(
        Debug,
        Clone,
        PartialEq,
        Eq,
        ::dacapo_client::generated::serde::Serialize,
        ::dacapo_client::generated::serde::Deserialize
    )]
    #[serde(crate = "::dacapo_client::generated::serde")]
    pub struct TakeError {
        #[serde(rename = "str")]
        pub str: u8,
        #[serde(rename = "text")]
        pub text: ::std::string::String,
    }
}
