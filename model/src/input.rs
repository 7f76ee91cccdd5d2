//! A workflow's input, checked before a run exists.

use crate::from_json::from_json;
use crate::json::{Json, excerpt};
use crate::mismatch::{InputError, Mismatch};
use crate::payload::{Payload, PayloadLimits};
use crate::schema::Workflow;
use crate::value::Value;

impl Workflow {
    /// Checks input against the type of the parameter. Returns the text as it was given; `null` if the workflow takes no
    /// parameter, where the text must be empty or `null`.
    ///
    /// # Errors
    /// Names the place of each mistake.
    pub fn check_input(&self, text: &str, limits: &PayloadLimits) -> Result<Payload, InputError> {
        match self.parse_input(text, limits)? {
            Some(_) => Ok(Payload::from_trusted(text.to_owned())),
            None => Ok(Payload::null()),
        }
    }

    /// Reads input as a value of the type of the parameter; `None` if the workflow takes no parameter.
    ///
    /// # Errors
    /// Names the place of each mistake.
    pub fn parse_input(
        &self,
        text: &str,
        limits: &PayloadLimits,
    ) -> Result<Option<Value>, InputError> {
        const ROOT: &str = "input";
        if let Some(param) = &self.param {
            return from_json(text, &param.ty, ROOT, limits).map(Some);
        }
        if text.trim().is_empty() {
            return Ok(None);
        }
        match Json::read(text, limits) {
            Ok(Json::Null) => Ok(None),
            Ok(json) => Err(InputError::Mismatch(vec![Mismatch {
                path: ROOT.to_owned(),
                message: format!("{} takes no input, got {}", self.name, excerpt(&json)),
            }])),
            Err(error) => Err(InputError::Malformed {
                root: ROOT.to_owned(),
                error,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Param, Type};

    fn workflow(param: Option<Type>) -> Workflow {
        Workflow {
            name: "shop:orders/api.fulfil".to_owned(),
            interface: "shop:orders/api@1.0.0".to_owned(),
            function: "fulfil".to_owned(),
            param: param.map(|ty| Param {
                name: "order".to_owned(),
                ty,
            }),
            result: None,
            events: Vec::new(),
            docs: None,
        }
    }

    #[test]
    fn input_is_kept_as_it_was_given() {
        let input = workflow(Some(Type::List(Box::new(Type::U32))))
            .check_input(" [1, 2] ", &PayloadLimits::default())
            .unwrap();
        assert_eq!(input.as_str(), " [1, 2] ");
    }

    #[test]
    fn no_parameter_takes_nothing_or_null() {
        let workflow = workflow(None);
        let limits = PayloadLimits::default();
        for text in ["", " \n", "null", " null "] {
            assert_eq!(workflow.check_input(text, &limits), Ok(Payload::null()));
        }
        assert_eq!(
            workflow
                .check_input("{\"a\":1}", &limits)
                .unwrap_err()
                .to_string(),
            "input: shop:orders/api.fulfil takes no input, got {\"a\":1}"
        );
        assert_eq!(
            workflow
                .check_input("nil", &limits)
                .unwrap_err()
                .to_string(),
            "input: not JSON: expected ident (line 1, column 2)"
        );
    }

    #[test]
    fn a_parameter_must_be_given() {
        let limits = PayloadLimits::default();
        assert_eq!(
            workflow(Some(Type::U32))
                .check_input("", &limits)
                .unwrap_err()
                .to_string(),
            "input: not JSON: EOF while parsing a value (line 1, column 0)"
        );
    }
}
