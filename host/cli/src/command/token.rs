//! `dacapo token`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{Access, Role, Scope, Token, WorkflowPattern};
use serde_json::json;

use crate::arguments::{Global, duration, label};
use crate::command::who;
use crate::connect;
use crate::error::Result;
use crate::ui::{Ui, table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token for the server, and show its secret: once, it is kept nowhere
    Create(Create),
    /// List the tokens of the namespace
    List(List),
    /// Revoke a token: it is none from now on, and browsers that were signed in with it are signed out
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Its name: what the audit and runs call whoever uses it
    name: String,
    /// What it allows: read (look), operate (start and steer runs), deploy (put code into service), admin; each allows what those before it do
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Role,
    /// Only workflows like this: a full name, in which `*` stands for any text, such as shop:*; may be repeated [default: all]
    #[arg(long = "workflow", value_name = "PATTERN", value_parser = pattern)]
    workflows: Vec<WorkflowPattern>,
    /// Only runs with this label; may be repeated, then with all of them
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Show it no inputs, outputs, events, what steps record, messages of failures, or logs
    #[arg(long)]
    no_payloads: bool,
    /// How long it is valid, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    /// Who makes it, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// With those that are revoked
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// Its name
    name: String,
    /// Who revokes it, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

fn role(text: &str) -> std::result::Result<Role, String> {
    text.parse()
        .map_err(|error: dacapo_client::RoleError| error.to_string())
}

pub(crate) fn pattern(text: &str) -> std::result::Result<WorkflowPattern, String> {
    text.parse()
        .map_err(|error: dacapo_client::PatternError| error.to_string())
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    let client = connect::client(global).await?;
    match command {
        Command::Create(args) => {
            let access = Access {
                role: args.role,
                scope: Scope {
                    workflows: args.workflows,
                    labels: args.labels.into_iter().collect(),
                },
                payloads: !args.no_payloads,
            };
            let who = who(args.by);
            let is_first = !client.has_tokens().await?;
            let token = client
                .create_token(&args.name, &access, args.expires, &who)
                .await?;
            let shown = json!({
                "name": args.name,
                "secret": token.secret.reveal(),
                "role": access.role.as_str(),
                "createdAt": token.created_at,
                "expiresAt": token.expires_at,
            });
            ui.say(&format!(
                "token {} may {}; this is its secret, which is not shown again:",
                args.name,
                may(&access)
            ));
            ui.data(&shown, |_| token.secret.reveal().to_owned());
            if is_first {
                ui.say("it is the first one of this namespace: from now on the server lets nobody in without a token");
            }
        }
        Command::List(args) => {
            let tokens = client.tokens(args.all).await?;
            ui.data(&tokens, |tokens| list(tokens));
        }
        Command::Revoke(args) => {
            client.revoke_token(&args.name, &who(args.by)).await?;
            ui.data(&json!({ "name": args.name, "revoked": true }), |_| {
                format!("token {} is revoked", args.name)
            });
            if !client.has_tokens().await? {
                ui.say("it was the last one of this namespace: a server that listens on loopback alone lets everybody on its machine in, and others nobody");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What somebody may do and see, in words.
fn may(access: &Access) -> String {
    let role = match access.role {
        Role::Read => "look at",
        Role::Operate => "start and steer",
        Role::Deploy => "start, steer and deploy",
        Role::Admin => "do everything with",
    };
    let payloads = if access.payloads {
        ""
    } else {
        ", without payloads"
    };
    format!("{role} {}{payloads}", access.scope)
}

fn list(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "no tokens: the server listens on loopback alone and lets everybody in there; make one with `dacapo token create`"
            .to_owned();
    }
    let rows = tokens.iter().map(|token| {
        let time = |time: Option<dacapo_client::Timestamp>, none: &str| {
            time.map_or_else(|| none.to_owned(), |time| short(&time.to_string()))
        };
        let state = match (&token.revoked_by, token.expired) {
            (Some(who), _) => format!("revoked by {who}"),
            (None, true) => "expired".to_owned(),
            (None, false) => String::new(),
        };
        vec![
            token.name.clone(),
            token.access.role.to_string(),
            token.access.scope.to_string(),
            if token.access.payloads { "yes" } else { "no" }.to_owned(),
            time(token.used_at, "never"),
            time(token.expires_at, "never"),
            state,
        ]
    });
    table(
        &["token", "role", "scope", "payloads", "used", "expires", ""],
        rows,
    )
}

/// Seconds are enough for people.
fn short(time: &str) -> String {
    time.get(..19)
        .map_or_else(String::new, |text| text.replace('T', " "))
}
