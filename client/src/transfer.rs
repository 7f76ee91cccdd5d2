//! Runs on their way from one database to another.

use dacapo_model::{ExportError, RunExport, RunId};
use dacapo_store::Imported;

use crate::going_back::check_who;
use crate::retry::retried;
use crate::{Client, ClientError};

impl Client {
    /// All that is known of a run at this moment, for another database: [`RunExport::to_json`] is the text of a file. What is secret in it
    /// is left out unless the client shows payloads whole ([`Client::showing`]), and then it cannot be imported.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`].
    pub async fn export(&self, run: RunId, with_log: bool) -> Result<RunExport, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.export(run, with_log).await;
        }
        self.check_shown("the payloads of a run")?;
        self.check_run(run).await?;
        let store = self.store();
        let export = retried(|| dacapo_store::export_run(store, run, with_log))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        let deployment = retried(|| dacapo_store::deployment_of(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.show_export(export, deployment).await
    }

    /// Writes a run from another database into the client's namespace, under its id, on the newest deployment that has its very component.
    /// One that has ended is there as it ended, and is kept as if it had ended now. One that has not ended is paused; once it is resumed it
    /// goes on from its journal, and if its deadline has passed it has as long again as it had.
    ///
    /// # Errors
    /// [`ClientError::RunExists`], [`ClientError::ComponentMissing`]; [`ClientError::Store`] if the database refuses what the file holds.
    pub async fn import(&self, export: &RunExport, who: &str) -> Result<(), ClientError> {
        if let Some(remote) = self.remote() {
            return remote.import(export, who).await;
        }
        check_who(who)?;
        self.check_whole("bringing runs from another database")?;
        if export.is_redacted() {
            return Err(ExportError::Redacted.into());
        }
        let mut connection = self.live_connection().await?;
        let run = export.run.id;
        match dacapo_store::import_run(&mut connection, &self.namespace, export, who).await? {
            Imported::Imported => Ok(()),
            Imported::Exists => Err(ClientError::RunExists(run)),
            Imported::NoDeployment => Err(ClientError::ComponentMissing {
                run,
                deployment: export.deployment.clone(),
            }),
        }
    }
}
