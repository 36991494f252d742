//! Talks to a server as a published client does, and prints a line for each step: `published VERSION URL TOKEN CODE NONCE`.
//!
//! Whoever runs it plays the agent, and goes on by what is printed.

use std::time::Duration;

type Done = Result<(), Box<dyn std::error::Error>>;

const PLAN: &str = r#"{"version":"0","graph":{"nodes":[{"step":{"key":"say","cmd":"echo one"},"env":{}}],"node_holes":[],"edge_property":"directed","edges":[]}}"#;

macro_rules! exercise {
    ($client:ident, $lists:expr) => {
        pub async fn run(url: &str, token: &str, code: &str, nonce: &str) -> Done {
            use $client::builds::{NewBuild, NewRepoBuild};
            use $client::logs::LogEvent;
            use $client::{HarmontClient, HarmontError};

            let nobody = HarmontClient::anonymous(url);
            let refusals = [
                nobody.redeem_code("WRONG").await,
                nobody.claim_token("0123456789abcdef-nobody").await,
            ];
            for refused in refusals {
                let Err(HarmontError::Api { status: 400, code, .. }) = refused else {
                    return Err(format!("not refused as published: {refused:?}").into());
                };
                println!("refused {code}");
            }
            let redeemed = nobody.redeem_code(code).await?;
            let claimed = nobody.claim_token(nonce).await?;
            println!("logged in {}", redeemed != claimed);
            let key = HarmontClient::with_base_url(token, url).create_api_token("laptop").await?;
            println!("key made");

            let client = HarmontClient::with_base_url(key, url);
            let lists: fn(HarmontClient) -> _ = $lists;
            lists(client.clone()).await?;
            println!("listed");

            let build = client
                .submit_build(NewBuild {
                    org: "acme".into(),
                    pipeline: "ci".into(),
                    branch: "main".into(),
                    commit: "0123abc".into(),
                    message: Some("A change".into()),
                    pipeline_ir: PLAN.into(),
                    source_tgz: b"no archive, but bytes".to_vec(),
                    env: std::iter::once(("A".to_owned(), "1".to_owned())).collect(),
                })
                .await?;
            println!("submitted {}", build.number);
            let jobs = client.list_jobs("acme", "ci", build.number).await?;
            let job: uuid::Uuid = jobs[0].id.to_string().parse()?;
            let log_token = client.log_token("acme", "ci", build.number).await?;
            let read = async |what: &str| -> Done {
                let stream = client.stream_job_logs(url, job, &log_token.token).await?;
                let mut stream = std::pin::pin!(stream);
                while let Some(event) = futures_util::StreamExt::next(&mut stream).await {
                    let chunks = match event? {
                        LogEvent::History(chunks) => chunks,
                        LogEvent::Chunk(chunk) => vec![chunk],
                        LogEvent::Done => {
                            println!("{what} done");
                            return Ok(());
                        }
                    };
                    for chunk in chunks {
                        println!(
                            "{what} {:?} {} {:?}",
                            chunk.stream,
                            chunk.content.trim_end(),
                            chunk.ts_unix_ns
                        );
                    }
                }
                Err("the log has no end".into())
            };
            read("live").await?;
            for _ in 0..600 {
                let build = client.get_build("acme", "ci", build.number).await?;
                if build.finished_at.is_some() {
                    println!("ended {:?}", build.state);
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            read("afterwards").await?;

            let build = client
                .submit_repo_build(NewRepoBuild {
                    org: "acme".into(),
                    repo_name: "acme/app".into(),
                    source_slug: "ci".into(),
                    branch: "main".into(),
                    commit: "0123abc".into(),
                    message: None,
                    pipeline_ir: PLAN.into(),
                    source_tgz: b"bytes".to_vec(),
                    env: Default::default(),
                })
                .await?;
            client.cancel_build("acme", &build.pipeline_slug, build.number).await?;
            let build = client.get_build("acme", "ci", build.number).await?;
            println!("canceled {:?}", build.state);
            Ok(())
        }
    };
}

mod old {
    use super::*;
    exercise!(v0_1, |client| async move {
        let client = client.raw();
        client.get_current_user().await.map_err(text)?;
        client.list_organizations(None, None).await.map_err(text)?;
        client.list_pipelines("acme", None, None).await.map_err(text)?;
        client.list_org_members("acme").await.map_err(text)?;
        let keys = client.list_api_tokens().await.map_err(text)?.into_inner().api_tokens;
        println!("keys {}", keys.iter().filter(|key| key.description.as_deref() == Some("laptop")).count());
        Ok::<(), String>(())
    });
}

mod new {
    use super::*;
    exercise!(v0_2, |client| async move {
        let client = client.raw();
        client.get_current_user().await.map_err(text)?;
        client.list_organizations(None, None).await.map_err(text)?;
        client.list_pipelines("acme", None, None).await.map_err(text)?;
        client.list_org_members("acme").await.map_err(text)?;
        let keys = client.list_api_tokens().await.map_err(text)?.into_inner().data;
        println!("keys {}", keys.iter().filter(|key| key.description.as_deref() == Some("laptop")).count());
        Ok::<(), String>(())
    });
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [version, url, token, code, nonce] = &arguments[..] else {
        return Err("published VERSION URL TOKEN CODE NONCE".into());
    };
    match version.as_str() {
        "0.1.3" => old::run(url, token, code, nonce).await,
        _ => new::run(url, token, code, nonce).await,
    }
}
