//! Secrets that the deployment is granted.

use crate::{Failure, raw};

/// What stands for a secret in the value of a header. The host puts the secret in its place in requests to the hosts that it is granted
/// for, so that its bytes never are in the guest.
///
/// ```no_run
/// use dacapo_guest::{http, secret, step};
///
/// let balance: u64 = step("balance").run(|| {
///     let response = http::get("https://bank.example.com/balance")
///         .header("authorization", format!("Bearer {}", secret("bank-token")))
///         .send()?;
///     Ok(response.success()?.json()?)
/// })?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn secret(name: &str) -> String {
    format!("{{{{dacapo.secret.{name}}}}}")
}

/// The bytes of a secret that the manifest grants with `reveal = true`, to sign something, say. Only inside a step.
///
/// ```no_run
/// # use dacapo_guest::{reveal, step};
/// # fn sign(key: &str) -> String { key.to_owned() }
/// let signature: String = step("sign").run(|| Ok(sign(&reveal("signing-key")?)))?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// # Errors
///
/// The code `not-granted`, where the manifest says `otherwise = "fail"`; else the run is blocked until the secret is granted, as it is until
/// one is there that is granted.
pub fn reveal(name: &str) -> Result<String, Failure> {
    Ok(raw::secrets::reveal(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_what_hosts_look_for() {
        assert_eq!(secret("bank-token"), "{{dacapo.secret.bank-token}}");
    }
}
