//! `sunstar set`: changes to a running stack, asked for through its control socket.

use sunstar::control::{Done, Question};

use crate::control;
use crate::failure::Failure;
use crate::options::SetOptions;
use crate::output::Output;

/// Has a running stack change something.
///
/// # Errors
/// None runs, several do, or it does not answer; it refuses.
pub(crate) fn run(options: &SetOptions, change: sunstar::configure::Change) -> Result<(), Failure> {
    let (path, mut client) = control::connect(options.control.as_deref())?;
    let done: Done = control::ask(&path, &mut client, &Question::Set { change })?;
    Output::new(options.json).say(done.changed, &done)?;
    Ok(())
}
