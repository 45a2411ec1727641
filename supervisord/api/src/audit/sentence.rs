//! A record in words.

use super::event::{Ruling, Suppressed, Traffic, Verdict, What};

impl What {
    /// What happened, in a few words. Names that others chose stand in it as they are.
    pub fn sentence(&self) -> String {
        match self {
            Self::Start(start) => format!("supervisord {} began, {:?}", start.version, start.mode),
            Self::Stop => "supervisord was told to end".to_owned(),
            Self::Submission(submission) => {
                let program = submission.program.as_deref().unwrap_or("it");
                ruled(&submission.ruling, &format!("to run {program}"))
            }
            Self::Outcome(ended) => {
                let outcome = serde_json::to_value(&ended.outcome).unwrap_or_default();
                let words = outcome.as_object().map(|fields| {
                    fields
                        .values()
                        .map(|value| value.to_string().replace('"', ""))
                        .collect::<Vec<_>>()
                });
                words.unwrap_or_default().join(" ")
            }
            Self::Limit(hit) => match hit.refused {
                Some(refused) => {
                    format!("{} of {}: {refused} refused or cut", hit.limit, hit.value)
                }
                None => format!("{} of {} reached", hit.limit, hit.value),
            },
            Self::Syscall(call) => {
                let profile = call.profile.as_deref().unwrap_or("unknown");
                ruled(&call.ruling, &format!("a system call (profile {profile})"))
            }
            Self::Cancellation(act) | Self::Administration(act) => {
                let object = act.object.as_deref().map(|object| format!(" {object}"));
                let by = act.by.map_or_else(|| "SIGHUP".to_owned(), |uid| format!("uid {uid}"));
                format!("{}{} by {by}", act.act, object.unwrap_or_default())
            }
            Self::Recovery(recovery) => match &recovery.cause {
                Some(cause) => format!("{}: {cause}", recovery.act),
                None => recovery.act.clone(),
            },
            Self::Egress(traffic) if traffic.failure.is_some() => {
                let code = traffic.ruling.cause.as_deref().unwrap_or_default();
                format!("failed {}: {code}", request(traffic))
            }
            Self::Egress(traffic) | Self::Dns(traffic) => ruled(&traffic.ruling, &request(traffic)),
            Self::Credential(used) => {
                ruled(&used.ruling, &format!("{} of credential {}", used.act, used.credential))
            }
            Self::Budget(out) => format!(
                "{} of {}: {} asked, {} of {} left",
                out.meter, out.account, out.asked, out.left, out.limit
            ),
            Self::Approval(answer) => {
                let by = answer.by.map(|uid| format!(" by uid {uid}")).unwrap_or_default();
                let asked =
                    format!("{} {}", answer.method.as_deref().unwrap_or("connect"), answer.host);
                format!("{}{by}", ruled(&answer.ruling, &format!("{} ({asked})", answer.approval)))
            }
            Self::Checkpoint(checkpoint) if checkpoint.closing => {
                "signed; the daemon ends".to_owned()
            }
            Self::Checkpoint(checkpoint) => format!("{} records signed", checkpoint.records),
            Self::Repair(repair) => format!("{} torn bytes moved to {}", repair.bytes, repair.kept),
            Self::Removal(removal) => {
                format!("{} removed, up to record {}", removal.file, removal.last)
            }
            Self::Retirement(retired) => {
                let (count, of) = (retired.executions.len(), retired.of.replace('_', " "));
                format!("{count} finished executions removed: more than {} {of}", retired.most)
            }
            Self::Suppression(minute) => {
                let codes = minute.codes.iter().map(|(code, count)| format!("{count} {code}"));
                let codes = codes.collect::<Vec<_>>().join(", ");
                let what = match minute.of {
                    Suppressed::Submissions => "submissions",
                    Suppressed::Traffic => "requests, connections and look-ups",
                };
                format!("{} more {what} refused since {}: {codes}", minute.refused, minute.since)
            }
            Self::Suspension(time) => {
                format!("no room for records since {}; {} refused", time.since, time.refused)
            }
        }
    }
}

fn ruled(ruling: &Ruling, what: &str) -> String {
    match ruling.verdict {
        Verdict::Allow => format!("allowed {what}"),
        Verdict::Deny => format!("refused {what}: {}", ruling.reason),
        Verdict::Ask => format!("asked for {what}: {}", ruling.reason),
    }
}

fn request(traffic: &Traffic) -> String {
    let Traffic { host, port, protocol, .. } = traffic;
    match (&traffic.method, &traffic.path) {
        (Some(method), Some(path)) => {
            let cut = traffic.path_bytes.map(|bytes| format!("… (of {bytes} bytes)"));
            format!("{method} {protocol}://{host}:{port}{path}{}", cut.unwrap_or_default())
        }
        _ => format!("{protocol} {host}:{port}"),
    }
}
