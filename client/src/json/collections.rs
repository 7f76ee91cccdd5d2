//! `list` and `tuple` of parts that have forms of their own.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserializer, Serializer};

use super::{Form, Read, Written};

/// `list<T>`: an array.
#[derive(Debug)]
pub struct List<F>(PhantomData<F>);

impl<T, F: Form<T>> Form<Vec<T>> for List<F> {
    fn serialize<S: Serializer>(value: &Vec<T>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(Written::<T, F>::new))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(ListVisitor::<T, F>(PhantomData))
    }
}

struct ListVisitor<T, F>(PhantomData<(T, F)>);

impl<'de, T, F: Form<T>> Visitor<'de> for ListVisitor<T, F> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(read) = items.next_element::<Read<T, F>>()? {
            list.push(read.value);
        }
        Ok(list)
    }
}

/// `list<T, N>`: an array of that length.
#[derive(Debug)]
pub struct Array<F>(PhantomData<F>);

impl<T, F: Form<T>, const N: usize> Form<[T; N]> for Array<F> {
    fn serialize<S: Serializer>(value: &[T; N], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(Written::<T, F>::new))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[T; N], D::Error> {
        let list = List::<F>::deserialize(deserializer)?;
        let length = list.len();
        list.try_into()
            .map_err(|_| de::Error::invalid_length(length, &format!("an array of {N}").as_str()))
    }
}

/// `tuple<…>`: an array with a form for each place. `F` is a tuple of forms.
#[derive(Debug)]
pub struct Tuple<F>(PhantomData<F>);

macro_rules! tuple {
    ($length:literal: $($value:ident $form:ident $at:tt),+) => {
        impl<$($value, $form: Form<$value>),+> Form<($($value,)+)> for Tuple<($($form,)+)> {
            fn serialize<S: Serializer>(value: &($($value,)+), serializer: S) -> Result<S::Ok, S::Error> {
                let mut tuple = serializer.serialize_tuple($length)?;
                $(tuple.serialize_element(&Written::<$value, $form>::new(&value.$at))?;)+
                tuple.end()
            }

            fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<($($value,)+), D::Error> {
                struct Places<$($value, $form),+>(PhantomData<($($value, $form),+)>);

                impl<'de, $($value, $form: Form<$value>),+> Visitor<'de> for Places<$($value, $form),+> {
                    type Value = ($($value,)+);

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "an array of {}", $length)
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                        Ok(($(
                            items
                                .next_element::<Read<$value, $form>>()?
                                .ok_or_else(|| de::Error::invalid_length($at, &self))?
                                .value,
                        )+))
                    }
                }

                deserializer.deserialize_tuple($length, Places::<$($value, $form),+>(PhantomData))
            }
        }
    };
}

tuple!(1: T0 F0 0);
tuple!(2: T0 F0 0, T1 F1 1);
tuple!(3: T0 F0 0, T1 F1 1, T2 F2 2);
tuple!(4: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3);
tuple!(5: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4);
tuple!(6: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5);
tuple!(7: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5, T6 F6 6);
tuple!(8: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5, T6 F6 6, T7 F7 7);
tuple!(9: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5, T6 F6 6, T7 F7 7, T8 F8 8);
tuple!(10: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5, T6 F6 6, T7 F7 7, T8 F8 8, T9 F9 9);
tuple!(11: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5, T6 F6 6, T7 F7 7, T8 F8 8, T9 F9 9, T10 F10 10);
tuple!(12: T0 F0 0, T1 F1 1, T2 F2 2, T3 F3 3, T4 F4 4, T5 F5 5, T6 F6 6, T7 F7 7, T8 F8 8, T9 F9 9, T10 F10 10, T11 F11 11);
