//! `callbridge model`: the local model as a stand-alone OpenAI Realtime server.

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::print;
use crate::config::Config;
use crate::models::local::{LocalModel, LocalModelConfig};
use crate::sys::tasks;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let local = LocalModelConfig {
        dir: config.model.local.dir,
        voice: config.model.local.voice,
        ..LocalModelConfig::default()
    };
    let model = tasks::spawn_blocking(move || LocalModel::load(local)).await??;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let at = listener.local_addr()?;
    let server = model.serve(listener);
    print::line(&format!("an OpenAI Realtime server listens on ws://{at}/v1/realtime?model=local"));
    tokio::signal::ctrl_c().await.context("signals cannot be listened to")?;
    drop(server);
    Ok(())
}
