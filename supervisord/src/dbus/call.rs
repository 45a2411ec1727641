//! One call: what the message says, and who the bus says has sent it.

use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{ApiError, ApprovalId, ErrorCode, ExecutionId, SessionId};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zbus::Connection;
use zbus::message::{Flags, Message};

use crate::dbus::bounds::{
    BUS_PATIENCE, BYTES, BYTES_PER_UID, CALLS, CALLS_PER_UID, FEEDS, FEEDS_PER_UID, MAX_ANSWER,
    READERS, ROOT_BYTES, ROOT_CALLS, ROOT_FEEDS, WRITERS, WRITERS_PER_UID,
};
use crate::dbus::failure::Failure;
use crate::dbus::names::{BUS, BUS_PATH};
use crate::dbus::polkit::{self, Action, Decision};
use crate::dbus::subscribers::Subscribers;
use crate::http::Routes;
use crate::in_turn::InTurn;
use crate::pool::{Pool, Share};
use crate::supervisor::{Caller, Role, Supervisor};

/// What all calls share.
pub struct Front {
    /// Does the work.
    pub supervisor: Supervisor,
    /// The bus.
    pub connection: Connection,
    /// Who gets signals.
    pub subscribers: Arc<Subscribers>,
    /// Calls by uid.
    pub calls: Arc<Pool>,
    /// Bytes of calls by uid.
    pub bytes: Arc<Pool>,
    /// Pipes by uid.
    pub feeds: Arc<Pool>,
    /// Permits to read JSON.
    pub readers: Arc<Semaphore>,
    /// Turns to write long answers.
    pub writers: InTurn,
    /// The socket's way to the operations.
    pub routes: Routes,
}

/// A call whose sender is known.
#[derive(Debug)]
pub struct Call {
    message: Message,
    sender: String,
    uid: u32,
}

impl Front {
    /// A front end on this connection.
    pub fn new(supervisor: Supervisor, connection: Connection) -> Self {
        Self {
            routes: Routes::within(Arc::new(supervisor.clone())),
            supervisor,
            connection,
            subscribers: Arc::default(),
            calls: Pool::new(CALLS, CALLS_PER_UID, ROOT_CALLS),
            bytes: Pool::new(BYTES, BYTES_PER_UID, ROOT_BYTES),
            feeds: Pool::new(FEEDS, FEEDS_PER_UID, ROOT_FEEDS),
            readers: Arc::new(Semaphore::new(READERS)),
            writers: InTurn::new(WRITERS, WRITERS_PER_UID),
        }
    }

    /// What a call may take of what there is for all, or nothing if that would go past a bound.
    pub fn admit(&self, call: &Call) -> Option<(Share, Share)> {
        let (weight, bytes) = (call.weight(), call.message.data().len() as u64);
        Some((self.calls.take(&weight, 1)?, self.bytes.take(&weight, bytes)?))
    }

    /// Asks the bus who has sent a message.
    ///
    /// # Errors
    ///
    /// When it doesn't say, which must never read as somebody in particular.
    pub async fn identify(&self, message: Message, sender: String) -> Result<Call, Failure> {
        let asked = self.connection.call_method(
            Some(BUS),
            BUS_PATH,
            Some(BUS),
            "GetConnectionUnixUser",
            &sender,
        );
        let answer = timeout(BUS_PATIENCE, asked).await.map_err(|_| unidentified())?;
        let answer = answer.map_err(|_| unidentified())?;
        let uid: u32 = answer.body().deserialize().map_err(|_| unidentified())?;
        if uid == u32::MAX {
            return Err(unidentified());
        }
        Ok(Call { message, sender, uid })
    }

    /// Notes that a call was answered, and with which error, if any.
    pub fn note(&self, operation: &'static str, code: Option<ErrorCode>) {
        self.supervisor.inner().metrics.call("bus", operation, code);
    }

    /// Whether a connection has not left the bus.
    pub async fn is_there(&self, name: &str) -> bool {
        let asked =
            self.connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "NameHasOwner", &name);
        match timeout(BUS_PATIENCE, asked).await {
            Ok(Ok(answer)) => answer.body().deserialize().unwrap_or(false),
            _ => false,
        }
    }

    /// Whether polkit lets the caller do this.
    pub async fn decide(&self, call: &Call, action: Action) -> Decision {
        polkit::decide(&self.connection, &call.sender, action, call.may_ask()).await
    }

    /// As whom the caller does something with an execution: as itself with its own, as an
    /// administrator with any other that polkit allows. What is not its own gets the same answer
    /// whether it exists or not, and polkit is asked either way.
    pub async fn caller_for(&self, call: &Call, id: ExecutionId, action: Action) -> Caller {
        let own = call.own();
        match self.supervisor.status(&own, id, Duration::ZERO).await {
            Err(error) if error.code == ErrorCode::NotFound => self.raised(call, action).await,
            _ => own,
        }
    }

    /// The same for a session.
    pub async fn caller_for_session(&self, call: &Call, id: SessionId, action: Action) -> Caller {
        match self.supervisor.session_at_a_glance(&call.own(), id) {
            Ok(_) => call.own(),
            Err(_) => self.raised(call, action).await,
        }
    }

    /// As whom the caller answers a question: polkit has no say in what is its own, which is refused,
    /// whoever it is.
    ///
    /// # Errors
    ///
    /// When it is no operator, and polkit does not let it answer others' either.
    pub async fn answerer(&self, call: &Call, id: ApprovalId) -> Result<Caller, Failure> {
        let (own, approvals) = (call.own(), &self.supervisor.inner().approvals);
        match approvals.answers(&own, id) || approvals.is_own(own.uid, id) {
            true => Ok(own),
            false => self.administrator(call, Action::Approve).await,
        }
    }

    /// The caller as an administrator if polkit allows this, else as itself.
    pub async fn raised(&self, call: &Call, action: Action) -> Caller {
        match self.decide(call, action).await {
            Decision::Yes => Caller { role: Role::Admin, ..call.own() },
            Decision::No | Decision::Challenge => call.own(),
        }
    }

    /// The caller as one who looks at what is its own, or at everybody's.
    ///
    /// # Errors
    ///
    /// When polkit does not let it see everybody's.
    pub async fn onlooker(&self, call: &Call, all: bool) -> Result<Caller, Failure> {
        match all {
            true => self.administrator(call, Action::SeeAll).await,
            false => Ok(call.own()),
        }
    }

    /// The caller as an administrator, if polkit allows this.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::PermissionDenied`], or that somebody has to authenticate.
    pub async fn administrator(&self, call: &Call, action: Action) -> Result<Caller, Failure> {
        match self.decide(call, action).await {
            Decision::Yes => Ok(Caller { role: Role::Admin, ..call.own() }),
            Decision::Challenge => Err(Failure::NobodyToAsk),
            Decision::No => {
                let name = action.id();
                let problem = format!("polkit does not allow {name}");
                let error = ApiError::new(ErrorCode::PermissionDenied, problem);
                let hint = "an administrator may grant it in a polkit rule; see pkaction";
                Err(error.with_hint(hint).into())
            }
        }
    }
}

impl Call {
    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The connection that it came over.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// The caller with what is its own.
    pub fn own(&self) -> Caller {
        Caller { uid: self.uid, role: Role::Agent }
    }

    /// The caller as bounds see it: some is kept for root, so that a flood can be ended.
    pub fn weight(&self) -> Caller {
        let role = if self.uid == 0 { Role::Admin } else { Role::Agent };
        Caller { uid: self.uid, role }
    }

    /// The arguments.
    ///
    /// # Errors
    ///
    /// When they are of other types.
    pub fn arguments<T>(&self) -> Result<T, Failure>
    where
        T: serde::de::DeserializeOwned + zbus::Type,
    {
        self.message.body().deserialize().map_err(|error| Failure::arguments(&error))
    }

    /// An answer with these values.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::TooLarge`] when it would be larger than a message should be.
    pub fn answer<T>(&self, values: &T) -> Result<Message, Failure>
    where
        T: serde::Serialize + zbus::DynamicType,
    {
        answer_to(&self.message, values)
    }

    /// The same of a list, which may be long: it is made and written away from the thread that serves everybody.
    ///
    /// # Errors
    ///
    /// As `make`, and as [`answer`](Self::answer).
    pub async fn list<T>(
        &self,
        front: &Front,
        make: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<Message, Failure>
    where
        T: serde::Serialize + zbus::DynamicType,
    {
        let turn = front.writers.turn(self.uid).await?;
        let message = self.message.clone();
        let written = spawn_blocking(move || {
            let answer = make().and_then(|values| answer_to(&message, &values));
            drop(turn);
            answer
        });
        written.await.map_err(Failure::internal)?
    }

    /// Whether somebody may be asked for a password.
    fn may_ask(&self) -> bool {
        self.message.primary_header().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH)
    }
}

fn answer_to<T>(message: &Message, values: &T) -> Result<Message, Failure>
where
    T: serde::Serialize + zbus::DynamicType,
{
    let answer = Message::method_return(&message.header()).build(values);
    let answer = answer.map_err(Failure::internal)?;
    match answer.data().len() <= MAX_ANSWER {
        true => Ok(answer),
        false => Err(Failure::too_large()),
    }
}

fn unidentified() -> Failure {
    ApiError::new(ErrorCode::PermissionDenied, "the bus does not say who calls").into()
}
