//! Where the values of secrets come from: this machine, and never the database.

use std::collections::HashMap;
use std::path::PathBuf;

use dacapo_model::SecretName;

/// The least length of a secret, in bytes: hiding a shorter one would garble texts that have nothing to do with it.
const MIN_BYTES: usize = 8;

/// The greatest length of a secret, in bytes: what servers take as a header.
const MAX_BYTES: u64 = 8 << 10;

/// The secrets of a worker: variables of its environment, files that these name, and a directory with a file for each.
#[derive(Clone, Default)]
pub struct Secrets {
    variables: HashMap<String, String>,
    directory: Option<PathBuf>,
}

impl Secrets {
    /// Secrets from variables `DACAPO_SECRET_<NAME>`, from files that `DACAPO_SECRET_<NAME>_FILE` names, and from files in a directory
    /// that are called like the secret. Files are read whenever the secret is used, so they may be replaced.
    pub fn new(
        variables: impl IntoIterator<Item = (String, String)>,
        directory: Option<PathBuf>,
    ) -> Secrets {
        let ours = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("DACAPO_SECRET_"));
        Secrets {
            variables: ours.collect(),
            directory,
        }
    }

    /// Whether a secret can be used here.
    #[must_use]
    pub fn has(&self, name: &SecretName) -> bool {
        self.get(name).is_ok()
    }

    /// The value; the error says why there is none that could be used, and not what was found.
    pub(crate) fn get(&self, name: &SecretName) -> Result<String, String> {
        let variable = name.variable();
        if let Some(value) = self.variables.get(&variable) {
            return usable(name, value);
        }
        let named = self.variables.get(&format!("{variable}_FILE"));
        let file = named.map(PathBuf::from).or_else(|| {
            let directory = self.directory.as_ref()?;
            Some(directory.join(name.as_str()))
        });
        let Some(file) = file else {
            return Err(format!(
                "secret `{name}` is not on this worker: set {variable} or {variable}_FILE, or start the worker with --secrets-dir, and \
                 resume the run"
            ));
        };
        let read = std::fs::metadata(&file).and_then(|metadata| {
            if metadata.len() > MAX_BYTES {
                return Err(std::io::Error::other(format!(
                    "it is longer than {MAX_BYTES} bytes"
                )));
            }
            std::fs::read_to_string(&file)
        });
        match read {
            Ok(text) => usable(name, &text),
            Err(error) => Err(format!(
                "secret `{name}` is not on this worker: cannot read {}: {error}; mend that and resume the run",
                file.display()
            )),
        }
    }
}

/// Nothing of the values.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("variables", &self.variables.keys())
            .field("directory", &self.directory)
            .finish()
    }
}

/// A file's last line end is an editor's doing.
fn usable(name: &SecretName, text: &str) -> Result<String, String> {
    let value = text.strip_suffix('\n').unwrap_or(text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.len() < MIN_BYTES {
        return Err(format!(
            "secret `{name}` cannot be used: it has fewer than {MIN_BYTES} bytes"
        ));
    }
    if value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(format!(
            "secret `{name}` cannot be used: it has a line end or another control character in it"
        ));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    #[test]
    fn a_secret_is_in_a_variable_or_a_file_or_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        file("in-directory", "from the directory\n");
        file("in-variable", "not this one");
        let variables = [
            (
                "DACAPO_SECRET_IN_VARIABLE".to_owned(),
                "from a variable".to_owned(),
            ),
            (
                "DACAPO_SECRET_IN_FILE_FILE".to_owned(),
                file("else", "from a file\r\n"),
            ),
            ("PATH".to_owned(), "/bin".to_owned()),
        ];
        let secrets = Secrets::new(variables, Some(directory.path().to_owned()));
        let get = |secret| secrets.get(&name(secret));
        assert_eq!(get("in-variable").unwrap(), "from a variable");
        assert_eq!(get("in-file").unwrap(), "from a file");
        assert_eq!(get("in-directory").unwrap(), "from the directory");
        assert!(get("nowhere").unwrap_err().contains("cannot read"));
        assert!(!format!("{secrets:?}").contains("from a variable"));
        // Each use reads it again.
        file("in-directory", "another one");
        assert_eq!(get("in-directory").unwrap(), "another one");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_being_told() {
        let secrets = |value: &str| {
            let variables = [("DACAPO_SECRET_A".to_owned(), value.to_owned())];
            Secrets::new(variables, None).get(&name("a"))
        };
        for bad in ["", "short", "two lines\nof it"] {
            let said = secrets(bad).unwrap_err();
            assert!(
                said.contains("cannot be used") && !said.contains("two"),
                "{said}"
            );
        }
        let none = Secrets::default().get(&name("a")).unwrap_err();
        assert!(
            none.contains("set DACAPO_SECRET_A or DACAPO_SECRET_A_FILE"),
            "{none}"
        );
    }
}
