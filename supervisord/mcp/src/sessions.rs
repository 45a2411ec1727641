//! Tools on sessions.

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use supervisor_api::{CreateSession, Session, UniqueMap};

use crate::failure::Failure;

use crate::arguments::{NewSession, Nothing, OneSession};
use crate::results::Sessions;
use crate::server::Server;
use crate::tools::{Reply, Told};

/// `create_session`.
pub async fn create(
    server: &Server,
    arguments: NewSession,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Session>, Failure> {
    let request = CreateSession {
        policy: arguments.policy,
        labels: UniqueMap(arguments.labels),
        workspace_bytes: None,
        workspace_inodes: None,
        time_to_live: arguments.time_to_live_seconds,
        from: arguments.from,
    };
    let session = server.client.create_session(&request).await?;
    let words = format!("{}, closed at {}", session.id, session.expires_at);
    Ok(Told::new(session, words).into())
}

/// `list_sessions`.
pub async fn list(
    server: &Server,
    _: Nothing,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Sessions>, Failure> {
    let sessions = server.client.sessions().await?.sessions;
    let lines = sessions.iter().map(|each| format!("{}, closed at {}\n", each.id, each.expires_at));
    let words = match sessions.is_empty() {
        true => "no sessions are open".to_owned(),
        false => lines.collect(),
    };
    Ok(Told::new(Sessions { sessions }, words).into())
}

/// `close_session`.
pub async fn close(
    server: &Server,
    arguments: OneSession,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Session>, Failure> {
    let session = server.client.close_session(arguments.session).await?;
    let words = format!("{} is closed, and its files are gone", session.id);
    Ok(Told::new(session, words).into())
}
