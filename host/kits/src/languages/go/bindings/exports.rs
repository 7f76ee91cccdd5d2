//! What wit-bindgen's exports call: it turns values from one form into the other, and calls the project's functions.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use wit_parser::{Function, InterfaceId, Type, TypeDefKind, TypeId, TypeOwner};

use super::{Form, HEADER, RAW, Writer, parts, pascal, signature};

/// Which way values are turned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// From wit-bindgen's form.
    Lift,
    /// Into wit-bindgen's form.
    Lower,
}

impl Turn {
    fn forms(self) -> (Form, Form) {
        match self {
            Self::Lift => (Form::Raw, Form::Own),
            Self::Lower => (Form::Own, Form::Raw),
        }
    }
}

impl Writer<'_> {
    /// The package that wit-bindgen's exports call.
    pub(super) fn exported(&self, id: InterfaceId, package: &str) -> String {
        let interface = &self.resolve.interfaces[id];
        let mut functions = String::new();
        let mut variables = String::new();
        for function in interface.functions.values() {
            self.function(&mut variables, &mut functions, function);
        }
        let mut turned = BTreeSet::new();
        for function in interface.functions.values() {
            for ty in signature(function) {
                self.turned(&ty, &mut turned);
            }
        }
        for ty in turned {
            self.turns(&mut functions, ty);
        }
        let body = format!(
            "// Workflows are the functions that the project has for the interface.\nvar Workflows struct {{\n{variables}}}\n{functions}"
        );
        let mut imports = "\t\"dacapo/internal/guest\"\n".to_owned();
        if body.contains("wittypes.") {
            imports.push_str("\t\"dacapo/wittypes\"\n");
        }
        for (other, name) in &self.packages {
            if body.contains(&format!("wit_{name}.")) {
                let _ = writeln!(imports, "\twit_{name} \"dacapo/wit/{name}\"");
            }
            let raw = self.raw_package(*other);
            if body.contains(&format!("raw_{raw}.")) {
                let _ = writeln!(imports, "\traw_{raw} \"{RAW}/{raw}\"");
            }
        }
        format!("{HEADER}package {package}\n\nimport (\n{imports})\n\n{body}")
    }

    fn function(&self, variables: &mut String, text: &mut String, function: &Function) {
        let name = pascal(&function.name);
        let own = |ty: &Type| self.form(ty, Form::Own, None);
        let raw = |ty: &Type| self.form(ty, Form::Raw, None);
        let given: Vec<String> = function.params.iter().map(|param| own(&param.ty)).collect();
        let given = given.join(", ");
        let params = function.params.iter().enumerate();
        let taken: Vec<String> = params
            .clone()
            .map(|(index, param)| format!("p{index} {}", raw(&param.ty)))
            .collect();
        let taken = taken.join(", ");
        let lifted: Vec<String> = params
            .map(|(index, param)| format!("{}(p{index})", self.turn(&param.ty, Turn::Lift)))
            .collect();
        let called = format!("Workflows.{name}({})", lifted.join(", "));
        let result = self.result(function);
        let value = match &result {
            Some((ok, _)) => *ok,
            None => function.result,
        };
        let _ = match &value {
            Some(ty) => writeln!(variables, "\t{name} func({given}) ({}, error)", own(ty)),
            None => writeln!(variables, "\t{name} func({given}) error"),
        };
        let workflow = match &value {
            Some(ty) => format!("func() ({}, error) {{ return {called} }}", own(ty)),
            None => {
                format!("func() (wittypes.Unit, error) {{ return wittypes.Unit{{}}, {called} }}")
            }
        };
        let lower = self.turn_optional(value.as_ref(), Turn::Lower);
        let _ = match (&result, &value) {
            (Some((_, err)), _) => {
                let lower_error = self.turn_optional(err.as_ref(), Turn::Lower);
                let returned = format!(
                    "wittypes.Result[{}, {}]",
                    self.optional(value.as_ref(), Form::Raw, None),
                    self.optional(err.as_ref(), Form::Raw, None)
                );
                write!(
                    text,
                    "\nfunc {name}({taken}) {returned} {{\n\treturn guest.PlayResult({workflow}, {lower}, {lower_error})\n}}\n"
                )
            }
            (None, None) => write!(
                text,
                "\nfunc {name}({taken}) {{\n\tguest.Play({workflow}, {lower})\n}}\n"
            ),
            // wit-bindgen takes a bare tuple for several results.
            (None, Some(Type::Id(id)))
                if let TypeDefKind::Tuple(tuple) = &self.resolve.types[*id].kind =>
            {
                let types: Vec<String> = tuple.types.iter().map(raw).collect();
                let parts: Vec<String> = (0..types.len()).map(|at| format!("all.F{at}")).collect();
                write!(
                    text,
                    "\nfunc {name}({taken}) ({}) {{\n\tall := guest.Play({workflow}, {lower})\n\treturn {}\n}}\n",
                    types.join(", "),
                    parts.join(", ")
                )
            }
            (None, Some(ty)) => write!(
                text,
                "\nfunc {name}({taken}) {} {{\n\treturn guest.Play({workflow}, {lower})\n}}\n",
                raw(ty)
            ),
        };
    }

    fn turn_optional(&self, ty: Option<&Type>, turn: Turn) -> String {
        ty.map_or_else(
            || "guest.Same[wittypes.Unit]".to_owned(),
            |ty| self.turn(ty, turn),
        )
    }

    /// A function that turns values of a type.
    fn turn(&self, ty: &Type, turn: Turn) -> String {
        let prefix = match turn {
            Turn::Lift => "lift",
            Turn::Lower => "lower",
        };
        let Type::Id(id) = ty else {
            return match ty {
                Type::Char if turn == Turn::Lift => {
                    "func(char rune) wittypes.Char { return wittypes.Char(char) }".to_owned()
                }
                Type::Char => "func(char wittypes.Char) rune { return rune(char) }".to_owned(),
                _ => format!("guest.Same[{}]", self.form(ty, Form::Raw, None)),
            };
        };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(ty) => self.turn(ty, turn),
            TypeDefKind::List(Type::U8) => "guest.Same[[]uint8]".to_owned(),
            TypeDefKind::List(ty) => format!("guest.List({})", self.turn(ty, turn)),
            TypeDefKind::Option(ty) => {
                let function = match turn {
                    _ if self.is_option(ty) => "Option",
                    Turn::Lift => "Pointer",
                    Turn::Lower => "FromPointer",
                };
                format!("guest.{function}({})", self.turn(ty, turn))
            }
            TypeDefKind::Result(result) => format!(
                "guest.Result({}, {})",
                self.turn_optional(result.ok.as_ref(), turn),
                self.turn_optional(result.err.as_ref(), turn)
            ),
            TypeDefKind::Tuple(tuple) => {
                let (from, to) = turn.forms();
                let fields = tuple.types.iter().enumerate();
                let fields: Vec<String> = fields
                    .map(|(at, ty)| format!("F{at}: {}(tuple.F{at})", self.turn(ty, turn)))
                    .collect();
                let ty = Type::Id(*id);
                let to = self.form(&ty, to, None);
                format!(
                    "func(tuple {}) {to} {{ return {to}{{{}}} }}",
                    self.form(&ty, from, None),
                    fields.join(", ")
                )
            }
            _ => format!("{prefix}{}", self.turn_name(*id)),
        }
    }

    fn turn_name(&self, id: TypeId) -> String {
        let ty = &self.resolve.types[id];
        let package = match ty.owner {
            TypeOwner::Interface(owner) => self.packages[&owner].as_str(),
            _ => "",
        };
        format!(
            "_{package}_{}",
            pascal(ty.name.as_deref().unwrap_or_default())
        )
    }

    /// The types with names that a type consists of.
    fn turned(&self, ty: &Type, found: &mut BTreeSet<TypeId>) {
        if let Some(id) = self.named(ty)
            && !found.insert(id)
        {
            return;
        }
        if let Type::Id(id) = ty {
            for part in parts(&self.resolve.types[*id].kind) {
                self.turned(&part, found);
            }
        }
    }

    /// The functions that turn values of a type with a name.
    fn turns(&self, text: &mut String, id: TypeId) {
        let (ty, name) = (Type::Id(id), self.turn_name(id));
        let (own, raw) = (
            self.form(&ty, Form::Own, None),
            self.form(&ty, Form::Raw, None),
        );
        let (mut lifted, mut lowered) = (String::new(), String::new());
        match &self.resolve.types[id].kind {
            TypeDefKind::Record(record) => {
                let fields = |turn| {
                    let fields = record.fields.iter().map(|field| {
                        let name = pascal(&field.name);
                        format!(
                            "\t\t{name}: {}(value.{name}),\n",
                            self.turn(&field.ty, turn)
                        )
                    });
                    fields.collect::<String>()
                };
                lifted = format!("\treturn {own}{{\n{}\t}}\n", fields(Turn::Lift));
                lowered = format!("\treturn {raw}{{\n{}\t}}\n", fields(Turn::Lower));
            }
            TypeDefKind::Variant(variant) => {
                let (package, bare) = raw.split_once('.').unwrap_or(("", &raw));
                lifted.push_str("\tswitch value.Tag() {\n");
                lowered.push_str("\tswitch {\n");
                for case in &variant.cases {
                    let field = pascal(&case.name);
                    let _ = match &case.ty {
                        None => write!(
                            lifted,
                            "\tcase {raw}{field}:\n\t\treturn {own}{{{field}: true}}\n"
                        ),
                        Some(ty) => write!(
                            lifted,
                            "\tcase {raw}{field}:\n\t\tpayload := {}(value.{field}())\n\t\treturn {own}{{{field}: &payload}}\n",
                            self.turn(ty, Turn::Lift)
                        ),
                    };
                    let _ = match &case.ty {
                        None => write!(
                            lowered,
                            "\tcase value.{field}:\n\t\treturn {package}.Make{bare}{field}()\n"
                        ),
                        Some(ty) => write!(
                            lowered,
                            "\tcase value.{field} != nil:\n\t\treturn {package}.Make{bare}{field}({}(*value.{field}))\n",
                            self.turn(ty, Turn::Lower)
                        ),
                    };
                }
                let wit = self.resolve.types[id].name.as_deref().unwrap_or_default();
                let _ = write!(lifted, "\t}}\n\tpanic(\"unreachable\")\n");
                let _ = write!(
                    lowered,
                    "\t}}\n\tpanic(\"none of the cases of {wit} is set\")\n"
                );
            }
            _ => {
                let _ = writeln!(lifted, "\treturn {own}(value)");
                let _ = writeln!(lowered, "\treturn {raw}(value)");
            }
        }
        let _ = write!(
            text,
            "\nfunc lift{name}(value {raw}) {own} {{\n{lifted}}}\n\nfunc lower{name}(value {own}) {raw} {{\n{lowered}}}\n"
        );
    }
}
