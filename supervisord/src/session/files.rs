//! A session's files. Everything blocks on the file system, so it happens on threads for that.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use supervisor_api::{
    ApiError, ErrorCode, FileEntry, FileList, MakeDirectory, MoveFile, SessionId,
};
use tokio::task::spawn_blocking;

use super::root::Root;
use super::set::Use;
use crate::elsewhere::{self, Elsewhere};
use crate::outcome;
use crate::supervisor::{Caller, Supervisor, internal, storage};
use crate::workspace::{self, FileError, FilePage, Listing, WorkspacePath};

/// A file that is read, in a session that is not removed meanwhile: its blocks would be held, and counted
/// against nobody. Whoever reads lets go of it when the session is being closed.
#[derive(Debug)]
pub struct OpenFile(Elsewhere<Opened>);

#[derive(Debug)]
struct Opened {
    file: File,
    /// The session is used until the file is closed.
    guard: Option<Use>,
}

impl OpenFile {
    fn of(file: File, guard: Use) -> Self {
        let owner = guard.session().record().owner_uid;
        Self(Elsewhere::new(owner, Opened { file, guard: Some(guard) }))
    }

    /// A file of no session, of this uid's.
    pub fn of_uid(owner: u32, file: File) -> Self {
        Self(Elsewhere::new(owner, Opened { file, guard: None }))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Returns once its session is being closed.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let session = self.0.guard.as_ref().map(|guard| guard.session().clone());
        async move {
            match session {
                Some(session) => session.closing().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Supervisor {
    /// What a directory of the workspace holds; without a path, its root.
    pub async fn list_files(
        &self,
        caller: &Caller,
        id: SessionId,
        path: Option<&str>,
        page: FilePage,
    ) -> Result<FileList, ApiError> {
        let path = path.map(checked).transpose()?;
        let list = move |root: BorrowedFd<'_>| workspace::list(root, path.as_ref(), &page);
        let Listing { entries, truncated, next } = self.on_files(caller, id, list).await?;
        Ok(FileList { entries, truncated, next })
    }

    /// What stands at a path.
    pub async fn stat_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
    ) -> Result<FileEntry, ApiError> {
        let path = checked(path)?;
        self.on_files(caller, id, move |root| workspace::look(root, &path)).await
    }

    /// A file to read from; its name and size are what they are at this moment.
    pub async fn open_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
    ) -> Result<OpenFile, ApiError> {
        let path = checked(path)?;
        let entered = self.enter(caller, id).await?;
        let opened = self.in_turn(entered, move |guard, root| {
            let file = workspace::open(root, &path).map_err(refuse)?;
            Ok(OpenFile::of(file, guard))
        });
        opened.await
    }

    /// Removes a file, or a directory; with `recursive`, one that holds something. Gives what was there.
    pub async fn remove_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
        recursive: bool,
    ) -> Result<FileEntry, ApiError> {
        let path = checked(path)?;
        let session = self.inner().sessions.get(id);
        let removed = self.change_files(caller, id, move |root| {
            let entry = workspace::look(root, &path)?;
            let is_wanted = || !session.as_ref().is_some_and(|session| session.is_closing());
            workspace::remove_while(root, &path, recursive, &is_wanted)?;
            Ok(entry)
        });
        removed.await
    }

    /// Makes a directory, and those that lead to it.
    pub async fn make_directory(
        &self,
        caller: &Caller,
        id: SessionId,
        request: MakeDirectory,
    ) -> Result<FileEntry, ApiError> {
        let path = checked(&request.path)?;
        let made = self.change_files(caller, id, move |root| {
            workspace::make_directory(root, &path)?;
            workspace::look(root, &path)
        });
        made.await
    }

    /// Moves a file or link; or a directory, within the one that it is in.
    pub async fn move_file(
        &self,
        caller: &Caller,
        id: SessionId,
        request: MoveFile,
    ) -> Result<FileEntry, ApiError> {
        let from = checked(&request.from).map_err(|error| error.with_field("from"))?;
        let to = checked(&request.to).map_err(|error| error.with_field("to"))?;
        let entered = self.enter_to_change(caller, id).await?; // before anything is noted about a session
        let writing = self.inner().writing.clone();
        let moved = self.in_turn(entered, move |_guard, root| {
            let _written = writing.begin(id).map_err(storage)?; // a copy may be made on the way
            workspace::rename(root, &from, &to, request.replace).map_err(refuse)?;
            workspace::look(root, &to).map_err(refuse)
        });
        moved.await
    }

    /// Does something to a session's files, which is not closed meanwhile.
    pub(super) async fn on_files<T: Send + 'static>(
        &self,
        caller: &Caller,
        id: SessionId,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let entered = self.enter(caller, id).await?;
        self.in_turn(entered, |_guard, root| act(root).map_err(refuse)).await
    }

    /// Changes a session's files, which are not copied meanwhile.
    async fn change_files<T: Send + 'static>(
        &self,
        caller: &Caller,
        id: SessionId,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let entered = self.enter_to_change(caller, id).await?;
        self.in_turn(entered, |_guard, root| act(root).map_err(refuse)).await
    }

    /// Does it on a thread for that, in the turn of the session's owner.
    pub(super) async fn in_turn<T: Send + 'static>(
        &self,
        (guard, root): (Use, Arc<Root>),
        act: impl FnOnce(Use, BorrowedFd<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let owner = guard.session().record().owner_uid;
        let turn = self.files_turn(guard.session()).await?;
        elsewhere::admit(owner)?;
        let done = spawn_blocking(move || {
            let result = act(guard, root.as_fd());
            drop(turn);
            result
        });
        done.await.map_err(internal)?
    }
}

/// A path as the caller spelt it.
pub(super) fn checked(path: &str) -> Result<WorkspacePath, ApiError> {
    WorkspacePath::try_from(path).map_err(|rule| ApiError::invalid("path", rule.to_string()))
}

/// Bytes of what is named in one refusal: a dozen paths, or one of the longest.
const MAX_NAMED: usize = 4096;

/// Names of what is in the way, in one line: the first of them, and how many more there are.
pub(super) fn some(named: impl Iterator<Item = String>) -> String {
    let (mut text, mut left_out) = (String::new(), 0);
    for name in named {
        if text.is_empty() {
            text = name;
        } else if left_out == 0 && text.len() + name.len() <= MAX_NAMED {
            text = format!("{text}; {name}");
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 { format!("{text}; and {left_out} more") } else { text }
}

/// Why it was not done, in the interface's words.
pub(super) fn refuse(error: FileError) -> ApiError {
    let code = match &error {
        FileError::NotFound { .. } => ErrorCode::NotFound,
        FileError::Occupied { .. }
        | FileError::IsDirectory { .. }
        | FileError::NotDirectory { .. }
        | FileError::NotRegular { .. }
        | FileError::Rooted { .. }
        | FileError::Denied { .. }
        | FileError::NotEmpty { .. } => ErrorCode::Conflict,
        FileError::Full { .. } => ErrorCode::StorageFull,
        FileError::TooMuch(_) | FileError::NoRoom => ErrorCode::TooLarge,
        FileError::Archive(_) => ErrorCode::InvalidArgument,
        FileError::System { source, .. } => {
            tracing::error!(%error, %source, "a session's files");
            if let Some(failed) = outcome::disk_failed(source) {
                return ApiError { detail: format!("{error}: {}", failed.detail), ..failed };
            }
            return ApiError::new(ErrorCode::Internal, error.to_string());
        }
    };
    let refused = ApiError::new(code, error.to_string());
    match error {
        FileError::Full { .. } => refused.with_hint("remove something, or make a larger session"),
        FileError::NotDirectory { .. } => refused.with_hint("links are never followed"),
        FileError::Denied { .. } => {
            refused.with_hint("a program took them away: run `chmod -R u+rwX .` in the session")
        }
        FileError::NotEmpty { .. } => refused.with_hint("ask for recursive"),
        FileError::Rooted { .. } => {
            refused.with_hint("make a directory there, and move what is in this one")
        }
        FileError::Occupied { .. } => refused.with_hint("ask for replace"),
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_named_as_fits_and_the_rest_is_counted() {
        assert_eq!(
            some(["a: gone".to_owned(), "b: gone".to_owned()].into_iter()),
            "a: gone; b: gone"
        );
        let long = |length: usize| "x".repeat(length);
        let told = some([long(4000), long(200), long(3)].into_iter());
        assert_eq!(told, format!("{}; and 2 more", long(4000)));
        assert_eq!(some((0..10_000).map(|_| long(9000))).len(), 9000 + "; and 9999 more".len());
    }
}
