//! `hm cloud`: a server, asked from the command line.

mod builds;
mod jobs;
mod login;
mod login_page;
mod open;
mod orgs;
mod pipelines;
mod watch;

pub(super) use login::{read_token, token_in};
pub(super) use open::login_link;

use harmont_client::models::Build;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::cli::{
    BuildArgs, BuildCommand, CloudCommand, JobCommand, OpenArgs, OrgArgs, OrgCommand, PipelineCommand,
    ShowArgs,
};
use crate::cloud::Session;
use crate::config::Config;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Asks a server.
///
/// # Errors
/// When nobody is logged in, or the server cannot be asked or refuses.
pub fn cloud(mut context: Context, command: &CloudCommand) -> Result<u8> {
    if let Some(args) = org_args(command) {
        context.take_org_flag(args);
    }
    if let CloudCommand::Build(BuildCommand::Watch { show, .. } | BuildCommand::Retry { show, .. }) = command
    {
        context.take_show_flags(show);
    }
    let config = context.config()?;
    let runtime = super::runtime()?;
    let code = runtime.block_on(ask(&context, &config, command));
    runtime.shutdown_background();
    code
}

const fn org_args(command: &CloudCommand) -> Option<&OrgArgs> {
    match command {
        CloudCommand::Open(OpenArgs { org, .. })
        | CloudCommand::AgentToken { org, .. }
        | CloudCommand::Pipeline(PipelineCommand::List { org, .. } | PipelineCommand::Create { org, .. })
        | CloudCommand::Build(BuildCommand::List { org, .. }) => Some(org),
        CloudCommand::Build(
            BuildCommand::Show { build, .. }
            | BuildCommand::Watch { build, .. }
            | BuildCommand::Cancel { build }
            | BuildCommand::Retry { build, .. },
        )
        | CloudCommand::Job(JobCommand::List { build, .. } | JobCommand::Log { build, .. }) => {
            Some(&build.org)
        }
        CloudCommand::Login(_)
        | CloudCommand::Logout
        | CloudCommand::Whoami { .. }
        | CloudCommand::Org(_) => None,
    }
}

async fn ask(context: &Context, config: &Config, command: &CloudCommand) -> Result<u8> {
    let text = match command {
        CloudCommand::Login(args) => return login::login(context, config, args).await,
        CloudCommand::Logout => return login::logout(context, config).await,
        CloudCommand::Open(args) => return open::open(context, config, args).await,
        CloudCommand::Whoami { json } => login::whoami(context, config, *json).await?,
        CloudCommand::Org(OrgCommand::List { json }) => orgs::list(context, config, *json).await?,
        CloudCommand::Org(OrgCommand::Use { org }) => return orgs::choose(context, config, org).await,
        CloudCommand::Pipeline(PipelineCommand::List { json, .. }) => {
            pipelines::list(&Asked::new(context, config).await?, *json).await?
        }
        CloudCommand::Pipeline(PipelineCommand::Create {
            name, repo, branch, ..
        }) => {
            let asked = Asked::new(context, config).await?;
            pipelines::create(&asked, name, repo.as_deref(), branch).await?
        }
        CloudCommand::Build(command) => return builds(context, config, command).await,
        CloudCommand::Job(JobCommand::List { build, json }) => {
            jobs::list(&Asked::new(context, config).await?, build, *json).await?
        }
        CloudCommand::Job(JobCommand::Log { step, build, .. }) => {
            return jobs::log(&Asked::new(context, config).await?, build, step).await;
        }
        CloudCommand::AgentToken { description, .. } => {
            let asked = Asked::new(context, config).await?;
            let client = &asked.session.client;
            let token = client.create_agent_token(&asked.org, description).await?;
            format!("{}\n", token.expose_secret())
        }
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

async fn builds(context: &Context, config: &Config, command: &BuildCommand) -> Result<u8> {
    let asked = Asked::new(context, config).await?;
    let text = match command {
        BuildCommand::List {
            pipeline,
            limit,
            json,
            ..
        } => builds::list(&asked, pipeline.as_deref(), *limit, *json).await?,
        BuildCommand::Show { build, json } => builds::show(&asked, build, *json).await?,
        BuildCommand::Watch {
            build,
            show: ShowArgs { .. },
        } => return watch::watch(&asked, asked.build(build).await?).await,
        BuildCommand::Retry {
            build,
            no_watch,
            show: ShowArgs { .. },
        } => return builds::retry(&asked, build, *no_watch).await,
        BuildCommand::Cancel { build } => return builds::cancel(&asked, build).await,
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

/// An organization of a server, asked as somebody.
struct Asked<'a> {
    context: &'a Context,
    config: &'a Config,
    session: Session,
    org: String,
}

impl<'a> Asked<'a> {
    async fn new(context: &'a Context, config: &'a Config) -> Result<Self> {
        let session = Session::open(context, config)?;
        let org = session.org().await?;
        Ok(Self {
            context,
            config,
            session,
            org,
        })
    }

    /// Where people watch a build.
    fn watch_url(&self, build: &Build) -> String {
        self.session
            .watch_url(&self.org, &build.pipeline_slug, build.number)
    }

    /// The build that is named, or the pipeline's newest.
    async fn build(&self, args: &BuildArgs) -> Result<Build> {
        let (client, org, pipeline) = (&self.session.client, &self.org, &args.pipeline);
        let number = match args.number {
            Some(number) => number,
            None => {
                let newest = client.builds(org, pipeline, Some(1), None).await?.data;
                let newest = newest.first().ok_or_else(|| {
                    Failure::usage(
                        format!("`{pipeline}` has no builds"),
                        ["`hm run --backend cloud` makes one"],
                    )
                })?;
                newest.number
            }
        };
        Ok(client.build(org, pipeline, number).await?)
    }
}

/// Values as JSON, one a line.
fn json_lines<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<String> {
    let mut text = String::new();
    for value in values {
        text.push_str(&serde_json::to_string(&value).map_err(|error| Failure::Output(error.into()))?);
        text.push('\n');
    }
    Ok(text)
}

/// The first row of a table.
fn head<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

/// What may be missing, in a table.
fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}
