//! Names in the languages of clients. None is given twice in a file.

use std::collections::BTreeSet;

/// `order-id` as `OrderId`; `HTTP-status` as `HttpStatus`.
pub(crate) fn pascal(kebab: &str) -> String {
    kebab.split('-').map(capital).collect()
}

/// `order-id` as `ORDER_ID`.
pub(crate) fn screaming(kebab: &str) -> String {
    kebab.replace('-', "_").to_uppercase()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let rest = letters.map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(rest).collect()
}

/// The names of a file.
#[derive(Debug)]
pub(crate) struct Taken(BTreeSet<String>);

impl Taken {
    /// A file in which these words mean something else.
    pub(crate) fn new(reserved: &[&str]) -> Self {
        Self(reserved.iter().map(|word| (*word).to_owned()).collect())
    }

    /// The first of the names that is free; if none is, the last one with a number.
    pub(crate) fn take(&mut self, names: &[String]) -> String {
        for name in names {
            if self.0.insert(name.clone()) {
                return name.clone();
            }
        }
        let last = names.last().map_or("", String::as_str);
        let mut number = 2;
        loop {
            let name = format!("{last}{number}");
            if self.0.insert(name.clone()) {
                return name;
            }
            number += 1;
        }
    }

    /// The name, if it is free.
    pub(crate) fn take_if_free(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_case() {
        assert_eq!(pascal("HTTP-status-2"), "HttpStatus2");
        assert_eq!(screaming("get-URL"), "GET_URL");
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut taken = Taken::new(&["Ref"]);
        let names = ["Item".to_owned(), "OrdersItem".to_owned()];
        let given: Vec<String> = (0..4).map(|_| taken.take(&names)).collect();
        assert_eq!(given, ["Item", "OrdersItem", "OrdersItem2", "OrdersItem3"]);
        assert_eq!(taken.take(&["Ref".to_owned()]), "Ref2");
        assert!(!taken.take_if_free("Item"));
    }
}
