//! Answers as JSON, of whatever length. What is longer than a moment takes to write is written away from the thread
//! that serves everybody, and counts against its caller until that has taken all of it.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use serde::Serialize;
use supervisor_api::{ApiError, ErrorCode};
use tokio::task::spawn_blocking;

use super::bounds::{
    ADMIN_ANSWERS, ANSWERS, ANSWERS_PER_UID, SMALL_ANSWER, WRITERS, WRITERS_PER_UID,
};
use crate::in_turn::InTurn;
use crate::pool::{Pool, Share};
use crate::supervisor::{Caller, internal};

/// What long answers take.
#[derive(Debug)]
pub struct Writing {
    turns: InTurn,
    bytes: Arc<Pool>,
}

/// What writes a long answer.
pub type LongAnswer = Box<dyn FnOnce() -> serde_json::Result<Vec<u8>> + Send>;

/// Bytes of an answer: short, or yet to be written.
pub enum Written {
    /// All of it.
    Short(Vec<u8>),
    /// What writes it.
    Long(LongAnswer),
}

/// Whether an answer can still be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusable {
    /// It was only looked at something, which can be looked at again.
    Yes,
    /// What was asked for is done.
    No,
}

/// A long answer in memory, and what it takes of what its caller may have.
struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

/// As much as is written at once.
#[derive(Default)]
struct Short {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            turns: InTurn::new(WRITERS, WRITERS_PER_UID),
            bytes: Pool::new(ANSWERS, ANSWERS_PER_UID, ADMIN_ANSWERS),
        }
    }
}

impl Writing {
    /// Writes a long answer to this caller. One that can't be refused has room whatever there is: each of a uid's
    /// connections, which are counted, has one such answer of some MiB at the most.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] where the caller has not taken what it was answered before.
    pub async fn write(
        &self,
        caller: &Caller,
        write: LongAnswer,
        refusable: Refusable,
    ) -> Result<Body, ApiError> {
        let turn = self.turns.turn(caller.uid).await?;
        let written = spawn_blocking(move || {
            let written = write();
            drop(turn);
            written
        });
        let bytes = written.await.map_err(internal)?.map_err(|error| unwritable(&error))?;
        let length = bytes.len() as u64;
        let share = match refusable {
            Refusable::Yes => self.bytes.take(caller, length).ok_or_else(|| {
                let problem =
                    "long answers to this uid have not been taken yet, and one more has no room";
                ApiError::new(ErrorCode::Busy, problem).with_hint("take them, and ask again")
            })?,
            Refusable::No => self.bytes.take_up_to(caller, length),
        };
        Ok(Body::from(Bytes::from_owner(Held { bytes, _share: share })))
    }
}

impl Written {
    /// Writes a value, if it is short.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn new(value: impl Serialize + Send + 'static) -> Result<Self, ApiError> {
        let mut short = Short::default();
        match serde_json::to_writer(&mut short, &value) {
            Ok(()) => Ok(Self::Short(short.bytes)),
            Err(_) if short.is_full => Ok(Self::Long(Box::new(move || serde_json::to_vec(&value)))),
            Err(error) => Err(unwritable(&error)),
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_full = self.bytes.len() + bytes.len() > SMALL_ANSWER;
        if self.is_full {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritable(error: &serde_json::Error) -> ApiError {
    tracing::error!(%error, "an answer could not be written as JSON");
    ApiError::new(ErrorCode::Internal, "the answer could not be written")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde::Serializer;

    use super::*;
    use crate::supervisor::Role;

    const CALLER: Caller = Caller { uid: 2001, role: Role::Agent };

    fn long(value: impl Serialize + Send + 'static) -> LongAnswer {
        match Written::new(value).unwrap() {
            Written::Long(write) => write,
            Written::Short(bytes) => panic!("{} bytes are short", bytes.len()),
        }
    }

    #[test]
    fn what_is_short_is_written_at_once_and_what_is_long_is_not() {
        let text = "x".repeat(SMALL_ANSWER - 2); // two quotes
        match Written::new(text.clone()).unwrap() {
            Written::Short(bytes) => assert_eq!(bytes, format!("\"{text}\"").as_bytes()),
            Written::Long(_) => panic!("{SMALL_ANSWER} bytes are short"),
        }
        drop(long(text + "x"));
    }

    #[test]
    fn of_a_long_list_no_more_than_its_beginning_is_looked_at_at_once() {
        struct Counted(Arc<std::sync::atomic::AtomicUsize>);
        impl Serialize for Counted {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                "a hundred bytes or so, of which there are a million in the list that is asked for"
                    .serialize(serializer)
            }
        }
        let looked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let write = long((0..100_000).map(|_| Counted(looked.clone())).collect::<Vec<_>>());
        assert!(looked.load(std::sync::atomic::Ordering::Relaxed) < SMALL_ANSWER / 50);
        write().unwrap();
        assert!(looked.load(std::sync::atomic::Ordering::Relaxed) > 100_000);
    }

    #[tokio::test]
    async fn a_caller_who_takes_no_answers_is_refused_one_more_and_others_are_not() {
        let writing = Writing::default();
        let length = ANSWERS_PER_UID as usize / 4;
        let answer = || long("x".repeat(length - 2));
        let mut bodies = Vec::new();
        for _ in 0..4 {
            bodies.push(writing.write(&CALLER, answer(), Refusable::Yes).await.unwrap());
        }
        let refused = writing.write(&CALLER, answer(), Refusable::Yes).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Busy);
        // What was done is answered all the same.
        let done = writing.write(&CALLER, answer(), Refusable::No).await.unwrap();
        assert_eq!(done.collect().await.unwrap().to_bytes().len(), length);
        let other = Caller { uid: 2002, role: Role::Agent };
        drop(writing.write(&other, answer(), Refusable::Yes).await.unwrap());
        let taken = bodies.pop().unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(taken.len(), length);
        drop(taken);
        drop(writing.write(&CALLER, answer(), Refusable::Yes).await.unwrap());
        drop(bodies);
        assert_eq!(writing.bytes.in_use(), 0);
    }
}
