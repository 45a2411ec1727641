//! Which image a submission's root is: its policy's, or one of those that the policy lets it choose from. The
//! launcher knows what a name stands for; here it is asked once, and what it says then is what runs.

use nix::libc::ENOENT;
use sha2::{Digest, Sha256};
use supervisor_api::{ApiError, ErrorCode, ImageReference};
use supervisor_launch::{Image, Step};
use supervisor_policy::{DEFAULT_IMAGE, Resolved, RootAccess, image_name};

use crate::launcher::{LaunchError, Launcher};
use crate::older;
use crate::outcome;

/// The image that was asked for, else the policy's own, for a launch and for the record.
pub async fn choose(
    asked: Option<&str>,
    policy: &Resolved,
    launcher: &Launcher,
) -> Result<(Image, Option<ImageReference>), ApiError> {
    let name = match asked {
        None => policy.image().to_owned(),
        Some(asked) => allowed(asked, policy)?,
    };
    if name == DEFAULT_IMAGE {
        return match policy.root() {
            RootAccess::ReadOnly => Ok((Image::Default, None)),
            RootAccess::Writable => Err(not_writable(policy)),
        };
    }
    let id = match digest(&name) {
        Some(id) => id,
        None => {
            let asked = launcher.find_image(Sha256::digest(name.as_bytes()).into());
            let found = launcher.unless_silent(asked).await.flatten();
            found.map_err(|error| refuse(&name, &error))?
        }
    };
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let writable = policy.root() == RootAccess::Writable;
    let reference = ImageReference { name, digest: format!("sha256:{digits}"), writable };
    Ok((Image::Imported(id), Some(reference)))
}

/// What was asked for, if the policy has it.
fn allowed(asked: &str, policy: &Resolved) -> Result<String, ApiError> {
    let name = image_name(asked).ok_or_else(|| {
        let problem = "an image is `default`, NAME, NAME:TAG, or sha256: and 64 digits";
        ApiError::invalid("image", problem)
    })?;
    if name == policy.image() || policy.images().contains(&name) {
        return Ok(name);
    }
    let problem = format!("{} has no image {name} to choose", policy.images_origin());
    let others = match policy.images() {
        [] => "the policy's `images` is empty: leave the image out".to_owned(),
        images => format!("choose {} or {}", policy.image(), images.join(", ")),
    };
    Err(ApiError::new(ErrorCode::PolicyDenied, problem).with_field("image").with_hint(others))
}

/// The host's own programs are not a session's to change.
fn not_writable(policy: &Resolved) -> ApiError {
    let problem = "the policy's root is writable, which the image `default` can't be";
    let all = policy.images().iter().map(String::as_str).chain([policy.image()]);
    let imported: Vec<_> = all.filter(|image| *image != DEFAULT_IMAGE).collect();
    ApiError::new(ErrorCode::PolicyDenied, problem)
        .with_field("image")
        .with_hint(format!("choose {}", imported.join(" or ")))
}

/// The bytes of a digest.
pub fn digest(name: &str) -> Option<[u8; 32]> {
    let digits = name.strip_prefix("sha256:")?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(bytes)
}

/// Why there is no such image to run.
fn refuse(name: &str, error: &LaunchError) -> ApiError {
    match error {
        LaunchError::Failed { step: Step::FindImage, errno: ENOENT } => {
            ApiError::new(ErrorCode::ControlMissing, format!("image {name} is not imported"))
                .with_hint(format!("supervisorctl image import ARCHIVE --name {name}"))
        }
        LaunchError::Failed { step: Step::FindImage, errno: 0 } => {
            let problem = format!("image {name} is not imported: the launcher has no images");
            ApiError::new(ErrorCode::ControlMissing, problem)
                .with_hint("start it with --images DIRECTORY, as root")
        }
        LaunchError::Old => older::lacks("images"),
        LaunchError::Silent => outcome::launcher_is_silent("nothing is run"),
        LaunchError::Gone => outcome::launcher_is_gone(),
        error => {
            tracing::error!(%error, image = name, "an image could not be looked up");
            ApiError::new(ErrorCode::Internal, "the image could not be looked up")
        }
    }
    .with_field("image")
}
