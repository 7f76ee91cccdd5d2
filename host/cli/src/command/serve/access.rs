//! How access to a server is had: TLS, proxies, and who vouches for people.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dacapo_client::Client;
use dacapo_server::{AccessConfig, AccessError, Gate, OidcConfig, OidcRule, Server, Tls};
use ipnet::IpNet;

use crate::arguments::duration;
use crate::error::{Failed, Kind, Result, chain};
use crate::ui::Ui;

/// The secret that this server shows the provider.
const CLIENT_SECRET: &str = "DACAPO_OIDC_CLIENT_SECRET";

/// Who gets in, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Speak TLS with this certificate and those that lead to its authority, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Believe this address, or this network (10.0.0.0/8), about whom it asks for and over what (X-Forwarded-For, X-Forwarded-Proto); may be
    /// repeated
    #[arg(long = "trusted-proxy", value_name = "ADDRESS", value_parser = network)]
    trusted_proxies: Vec<IpNet>,
    /// How long a browser stays signed in
    #[arg(long, default_value = "12h", value_parser = duration, value_name = "DURATION")]
    session: Duration,
    /// Where browsers find this server, such as https://dacapo.example.com
    #[arg(long, env = "DACAPO_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Let people sign in with this OpenID Connect provider, such as https://login.example.com
    #[arg(long, env = "DACAPO_OIDC_ISSUER", value_name = "URL", requires_all = ["oidc_client_id", "public_url", "oidc_roles"])]
    oidc_issuer: Option<String>,
    /// What the provider calls this server
    #[arg(long, env = "DACAPO_OIDC_CLIENT_ID", value_name = "ID")]
    oidc_client_id: Option<String>,
    /// A file with the secret that this server shows the provider [default: DACAPO_OIDC_CLIENT_SECRET, or none]
    #[arg(long, env = "DACAPO_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// Ask the provider for this, too, such as email or groups; may be repeated
    #[arg(long = "oidc-scope", value_name = "SCOPE")]
    oidc_scopes: Vec<String>,
    /// What somebody may do of whom the provider says this: CLAIM=VALUE:ROLE such as groups=operators:operate, or *:ROLE for everybody, with
    /// ,no-payloads behind it for those who see none; may be repeated, and the highest role counts
    #[arg(long = "oidc-role", value_name = "RULE")]
    oidc_roles: Vec<OidcRule>,
}

/// An address, or a network.
fn network(text: &str) -> std::result::Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        "expected an address, such as 10.0.0.1, or a network, such as 10.0.0.0/8".to_owned()
    })
}

impl AccessArgs {
    /// The certificate, if there is one.
    pub(crate) fn tls(&self) -> Result<Option<Tls>> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files
            .map(|(certificate, key)| Tls::read(certificate, key))
            .transpose()
            .map_err(|error| Failed::usage(format!("--tls-cert: {}", chain(&error))))
    }

    /// The gate of a server, which says what it lets through.
    pub(crate) async fn gate(&self, client: Client, server: &Server, ui: Ui) -> Result<Gate> {
        let config = self.config(server.address())?;
        let gate = Gate::new(client, config).await.map_err(|error| {
            let kind = match &error {
                AccessError::Client(_) => Kind::Request,
                AccessError::Open { .. } | AccessError::Oidc(_) => Kind::Usage,
            };
            let hint = error.hint();
            Failed {
                kind,
                code: "access".to_owned(),
                message: chain(&error),
                hint: hint.map(str::to_owned),
            }
        })?;
        if gate.is_open().await? {
            ui.say("there is no token, so it listens on loopback alone, and whoever is on this machine may do everything; `dacapo token create` makes one");
        }
        Ok(gate)
    }

    fn config(&self, address: SocketAddr) -> Result<AccessConfig> {
        let oidc = match (&self.oidc_issuer, &self.oidc_client_id, &self.public_url) {
            (Some(issuer), Some(client_id), Some(public_url)) => Some(OidcConfig {
                issuer: issuer.clone(),
                client_id: client_id.clone(),
                client_secret: self.client_secret()?,
                public_url: public_url.clone(),
                scopes: self.oidc_scopes.clone(),
                rules: self.oidc_roles.clone(),
            }),
            _ => None,
        };
        Ok(AccessConfig {
            tls: self.tls_cert.is_some(),
            trusted_proxies: self.trusted_proxies.clone(),
            session: self.session,
            oidc,
            ..AccessConfig::new(address)
        })
    }

    fn client_secret(&self) -> Result<Option<String>> {
        let Some(file) = &self.oidc_client_secret_file else {
            let secret = std::env::var(CLIENT_SECRET).ok();
            return Ok(secret.filter(|secret| !secret.is_empty()));
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failed::usage(format!("cannot read {}: {error}", file.display())))?;
        Ok(Some(text.trim().to_owned()))
    }
}
