//! What was set as a goal, and whether this run met it. A goal that was missed fails nothing: on a
//! noisy machine a number says little, and a test that fails now and then says nothing at all.

use std::time::Duration;

use crate::contestant::{Program, Who};
use crate::report::{Results, cost, number};
use crate::throughput::{Slice, Sustained, rate};

/// A number and its bound.
#[derive(Debug)]
pub struct Goal {
    /// What it is about.
    pub words: &'static str,
    /// What was measured, if it was.
    pub value: Option<f64>,
    /// What it should be.
    pub bound: Bound,
}

/// How large a number should be.
#[derive(Debug)]
pub enum Bound {
    /// So large or smaller.
    AtMost(f64),
    /// So large or larger.
    AtLeast(f64),
}

/// Prints a line for each goal.
pub fn print(goals: impl IntoIterator<Item = Goal>) {
    println!();
    for goal in goals {
        let (sign, bound, met) = match goal.bound {
            Bound::AtMost(bound) => ("at most", bound, goal.value.map(|value| value <= bound)),
            Bound::AtLeast(bound) => ("at least", bound, goal.value.map(|value| value >= bound)),
        };
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not measured",
        };
        let (words, value) = (goal.words, number(goal.value, 2));
        println!("goal: {words} {sign} {bound}: {value}, {verdict}");
    }
}

/// The goals of executions.
pub fn of_executions(results: &Results) -> [Goal; 6] {
    let p50 = |who| results.time(Program::True, who, 0.5);
    let rate_of = |who| results.rate(8, who);
    let ours = results.memory.get(&Who::Ours);
    [
        Goal {
            words: "p50 of /bin/true against bubblewrap",
            value: ratio(p50(Who::Ours), p50(Who::Bubblewrap)),
            bound: Bound::AtMost(1.0),
        },
        Goal {
            words: "p50 of /bin/true against crun",
            value: ratio(p50(Who::Ours), p50(Who::Crun)),
            bound: Bound::AtMost(0.7),
        },
        Goal {
            words: "executions per second with 8 in flight against bubblewrap",
            value: ratio(rate_of(Who::Ours), rate_of(Who::Bubblewrap)),
            bound: Bound::AtLeast(1.2),
        },
        Goal {
            words: "the sustained rate, last third against first third,",
            value: decline(&results.sustained.slices),
            bound: Bound::AtLeast(0.95),
        },
        Goal {
            words: "CPU of ours for each of them, last third against first third,",
            value: growth(&results.sustained),
            bound: Bound::AtMost(1.05),
        },
        Goal {
            words: "MiB of ours for an idle sandbox",
            value: ours.map(|cost| (cost.own + cost.growth) / 1024.0),
            bound: Bound::AtMost(1.0),
        },
    ]
}

fn ratio(own: Option<f64>, peer: Option<f64>) -> Option<f64> {
    own.zip(peer).map(|(own, peer)| own / peer)
}

/// Others on the machine change a rate; what an execution costs says whether something grows.
fn growth(sustained: &Sustained) -> Option<f64> {
    let third = sustained.slices.len() / 3;
    let of = |slices: &[Slice], used: &[Duration]| {
        cost(used.iter().sum(), slices.iter().map(|slice| slice.finished).sum())
    };
    let Sustained { slices, used } = sustained;
    let late = slices.len() - third;
    let first = of(slices.get(..third)?, used.get(..third)?);
    Some(of(slices.get(late..)?, used.get(late..)?) / first)
}

fn decline(slices: &[Slice]) -> Option<f64> {
    let third = slices.len() / 3;
    let (first, last) = (slices.get(..third)?, slices.get(slices.len() - third..)?);
    ratio(rate(last), rate(first))
}
