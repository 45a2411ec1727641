//! The connection to the bus: made, served, and made again when it is lost. The daemon works without
//! it; that there is none is said once, and again when there was one in between.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zbus::export::futures_core::Stream;
use zbus::message::{Flags, Message, Type};
use zbus::{Connection, MatchRule, MessageStream, connection};

use crate::dbus::announce::announce;
use crate::dbus::bounds::{BUS_PATIENCE, GRACE, MAX_QUEUED, RECONNECT_MAX, RECONNECT_MIN};
use crate::dbus::call::{Call, Front};
use crate::dbus::dispatch;
use crate::dbus::failure::Failure;
use crate::dbus::load::{Load, Place};
use crate::dbus::names::{BUS, BUS_NAME, BUS_PATH};
use crate::dbus::news;
use crate::pool::Share;
use crate::supervisor::Supervisor;

/// RequestName: DBUS_NAME_FLAG_DO_NOT_QUEUE. There is one supervisor on a host, or none.
const DO_NOT_QUEUE: u32 = 4;

/// RequestName: DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER.
const PRIMARY_OWNER: u32 = 1;

/// Where the bus is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub enum Address {
    /// At DBUS_SYSTEM_BUS_ADDRESS, or where it usually is.
    #[default]
    System,
    /// No front end on a bus.
    Off,
    /// At this address (D-Bus specification, "Server Addresses").
    At(String),
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        match text.as_str() {
            "system" => Self::System,
            "off" => Self::Off,
            _ => Self::At(text),
        }
    }
}

/// Serves on the bus until `stop` is true or its sender is gone.
pub async fn serve(supervisor: Supervisor, address: Address, mut stop: watch::Receiver<bool>) {
    if address == Address::Off {
        return;
    }
    let (mut pause, mut said) = (RECONNECT_MIN, false);
    loop {
        let stopped = stop.clone();
        let ended = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            connected = connect(&address) => connected,
        };
        let ended = match ended {
            Ok((connection, stream)) => {
                tracing::info!(name = BUS_NAME, "on the bus");
                (pause, said) = (RECONNECT_MIN, false);
                converse(Front::new(supervisor.clone(), connection), stream, stopped).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => return,
            Err(error) if said => tracing::debug!(%error, "still not on the bus"),
            Err(error) => tracing::warn!(%error, "not on the bus; the socket works without it"),
        }
        said = true;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(pause) => {}
        }
        pause = RECONNECT_MAX.min(pause * 2);
    }
}

/// Connects and takes the name; whatever is sent to it from then on is in the stream.
async fn connect(address: &Address) -> zbus::Result<(Connection, MessageStream)> {
    let builder = match address {
        Address::At(address) => connection::Builder::address(address.as_str()),
        Address::System | Address::Off => connection::Builder::system(),
    };
    let queued = NonZeroUsize::new(MAX_QUEUED).unwrap_or(NonZeroUsize::MIN);
    let connected = timeout(BUS_PATIENCE, builder.max_queued(queued).build()).await;
    let connection = connected.map_err(|_| zbus::Error::Failure("no answer in time".into()))??;
    let stream = MessageStream::from(&connection);
    let departures = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(2, "")
        .build()?;
    ask(&connection, "AddMatch", &departures.to_string()).await?;
    let answer = ask(&connection, "RequestName", &(BUS_NAME, DO_NOT_QUEUE)).await?;
    match answer.body().deserialize::<u32>()? {
        PRIMARY_OWNER => Ok((connection, stream)),
        _ => Err(zbus::Error::NameTaken),
    }
}

async fn ask<T>(connection: &Connection, method: &str, body: &T) -> zbus::Result<Message>
where
    T: serde::Serialize + zbus::DynamicType,
{
    let asked = connection.call_method(Some(BUS), BUS_PATH, Some(BUS), method, body);
    let late = |_| zbus::Error::Failure("the bus does not answer in time".into());
    timeout(BUS_PATIENCE, asked).await.map_err(late)?
}

/// Answers calls until the connection is lost, or until it is to stop; then open calls have a while.
async fn converse(
    front: Front,
    mut stream: MessageStream,
    mut stop: watch::Receiver<bool>,
) -> zbus::Result<()> {
    let (front, load) = (Arc::new(front), Arc::<Load>::default());
    let mut signals = JoinSet::new();
    signals.spawn(announce(front.clone()));
    signals.spawn(news::of_sessions(front.clone()));
    signals.spawn(news::of_approvals(front.clone()));
    signals.spawn(news::of_generations(front.clone()));
    signals.spawn(news::of_credentials(front.clone()));
    let mut calls = JoinSet::new();
    loop {
        let message = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = calls.join_next() => continue,
            message = poll_fn(|context| Pin::new(&mut stream).poll_next(context)) => message,
        };
        let Some(message) = message else {
            return Err(zbus::Error::Failure("the bus has closed the connection".into()));
        };
        receive(&front, &load, message?, &mut calls).await?;
    }
    let rest = async { while calls.join_next().await.is_some() {} };
    if timeout(GRACE, rest).await.is_err() {
        tracing::warn!(calls = calls.len(), "calls over the bus were cut off");
    }
    Ok(())
}

/// Starts answering a call, or tells its sender at once why not.
async fn receive(
    front: &Arc<Front>,
    load: &Arc<Load>,
    message: Message,
    calls: &mut JoinSet<()>,
) -> zbus::Result<()> {
    let sender = message.header().sender().map(ToString::to_string).unwrap_or_default();
    match message.message_type() {
        Type::MethodCall => {}
        Type::Signal if sender == BUS => {
            forget(front, &message);
            return Ok(());
        }
        _ => return Ok(()),
    }
    let place = match dispatch::check_size(&message) {
        Ok(()) => load
            .take(&sender, message.data().len())
            .ok_or_else(|| Failure::busy("too many calls of this connection at once")),
        Err(failure) => Err(failure),
    };
    match place {
        Ok(place) => {
            let front = front.clone();
            calls.spawn(async move {
                if let Err(error) = answer(&front, message, sender, place).await {
                    tracing::debug!(%error, "an answer could not be sent");
                }
            });
            Ok(())
        }
        Err(failure) => reply(front, &message, Err(failure)).await,
    }
}

async fn answer(
    front: &Arc<Front>,
    message: Message,
    sender: String,
    mut place: Place,
) -> zbus::Result<()> {
    let done = match front.identify(message.clone(), sender).await {
        Ok(call) => match front.admit(&call) {
            Some(share) => {
                place.is_known();
                act(front, call, share).await
            }
            None => Err(Failure::busy("too many calls of this user at once")),
        },
        Err(failure) => Err(failure),
    };
    drop(place);
    reply(front, &message, done).await
}

/// Does what a call asks for. What changes something is done to its end, even when the connection is lost meanwhile.
async fn act(front: &Arc<Front>, call: Call, share: (Share, Share)) -> Result<Message, Failure> {
    let (front, changes) = (front.clone(), dispatch::changes(call.message()));
    let done = async move {
        let done = dispatch::act(&front, &call).await;
        let code = done.as_ref().err().map(Failure::code);
        front.note(dispatch::operation(call.message()), code);
        drop(share);
        done
    };
    if !changes {
        return done.await;
    }
    tokio::spawn(done).await.unwrap_or_else(|error| Err(Failure::internal(error)))
}

async fn reply(front: &Front, call: &Message, done: Result<Message, Failure>) -> zbus::Result<()> {
    if call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return Ok(());
    }
    let answer = match done {
        Ok(answer) => answer,
        Err(failure) => failure.answer(&call.header())?,
    };
    front.connection.send(&answer).await
}

/// A connection is gone, and with it its wish for signals.
fn forget(front: &Front, signal: &Message) {
    if signal.header().member().is_some_and(|member| member.as_str() == "NameOwnerChanged")
        && let Ok((name, _, _)) = signal.body().deserialize::<(String, String, String)>()
    {
        front.subscribers.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_pauses_between_attempts_grow_and_end() {
        let pauses =
            std::iter::successors(Some(RECONNECT_MIN), |pause| Some(RECONNECT_MAX.min(*pause * 2)));
        let sum: Duration = pauses.take(10).sum();
        assert!(sum < Duration::from_secs(600) && sum > Duration::from_secs(60));
    }
}
