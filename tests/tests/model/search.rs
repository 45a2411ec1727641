//! A look at every state that a model can reach.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// What happened between two states.
pub type Event = &'static str;

/// Something with states.
pub trait Model: Copy + Eq + Hash + Debug {
    /// Every state that may come next.
    fn next(self) -> Vec<(Event, Self)>;

    /// What has to be so.
    fn check(&self) -> Result<(), &'static str>;
}

/// Looks at every state; how many there are, or how one is reached that must not be.
pub fn search<M: Model>(first: M) -> Result<usize, String> {
    let mut from: HashMap<M, Option<(Event, M)>> = HashMap::from([(first, None)]);
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        state.check().map_err(|problem| format!("{problem}:\n{}", way(state, &from)))?;
        for (event, after) in state.next() {
            from.entry(after).or_insert_with(|| {
                queue.push_back(after);
                Some((event, state))
            });
        }
    }
    Ok(from.len())
}

/// The way to a state, for people to read.
fn way<M: Model>(mut state: M, from: &HashMap<M, Option<(Event, M)>>) -> String {
    let mut events = vec![format!("{state:?}")];
    while let Some(Some((event, before))) = from.get(&state) {
        events.push((*event).to_owned());
        state = *before;
    }
    events.reverse();
    events.join("\n")
}
