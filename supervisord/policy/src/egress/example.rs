//! Examples of requests in policy files: what is asked, and what the rules are to say. They are put
//! to the rules at load; a file whose examples fail does not load.

use crate::diagnostic::Diagnostic;
use crate::document::Origin;
use crate::egress::Egress;
use crate::egress::client::{Client, ClientOrigins};
use crate::egress::decision::Reason;
use crate::egress::question::{InvalidQuestion, Question};
use crate::egress::rule::Verdict;

/// One example, checked.
#[derive(Debug, Clone)]
pub(crate) struct RequestExample {
    pub text: String,
    pub websocket: bool,
    pub body: Option<u64>,
    pub verdict: Verdict,
    pub rule: Option<String>,
    pub reason: Option<Reason>,
    pub credential: Option<String>,
    pub origin: Origin,
}

impl RequestExample {
    /// The questions in it: one, or one for each place of the client that it names as `{pip}`. None
    /// where nobody has asked that client.
    pub fn questions(&self, clients: &ClientOrigins) -> Result<Vec<Question>, InvalidQuestion> {
        let named = |client: &&Client| self.text.contains(&placeholder(**client));
        let texts: Vec<String> = match Client::ALL.iter().find(named) {
            None => vec![self.text.clone()],
            Some(client) => clients
                .of(*client)
                .map(|(protocol, destination)| {
                    let origin = format!("{protocol}://{destination}");
                    self.text.replace(&placeholder(*client), &origin)
                })
                .collect(),
        };
        texts.iter().map(|text| Ok(self.complete(Question::parse(text)?))).collect()
    }

    /// Whether the text is one that [`RequestExample::questions`] can make something of.
    pub fn check(&self) -> Result<(), InvalidQuestion> {
        let stand_in = Client::ALL.iter().fold(self.text.clone(), |text, client| {
            text.replace(&placeholder(*client), "https://client.invalid")
        });
        Question::parse(&stand_in).map(|_| ())
    }

    /// Puts it to the rules; says how it fails, if it does.
    pub fn failure(&self, egress: &Egress, clients: &ClientOrigins) -> Option<Diagnostic> {
        let questions = match self.questions(clients) {
            Ok(questions) => questions,
            Err(invalid) => return Some(self.origin.diagnostic(invalid.to_string())),
        };
        questions.iter().find_map(|question| self.failure_of(question, egress))
    }

    fn failure_of(&self, question: &Question, egress: &Egress) -> Option<Diagnostic> {
        let decision = question.put_to(egress);
        let (rule, reason) = (decision.rule(), decision.reason());
        let credentials: Vec<&str> = decision.prospect().map_or(Vec::new(), |permit| {
            permit.bindings().iter().map(|binding| binding.credential()).collect()
        });
        let found = if decision.verdict() != self.verdict {
            format!("{}: {reason} by {rule}", decision.verdict())
        } else if self.rule.as_deref().is_some_and(|wanted| rule.rule() != Some(wanted)) {
            format!("{} by {rule}", decision.verdict())
        } else if self.reason.is_some_and(|wanted| wanted != reason) {
            format!("{} with the reason {reason}", decision.verdict())
        } else if self.credential.as_deref().is_some_and(|wanted| !credentials.contains(&wanted)) {
            match credentials.as_slice() {
                [] => "made without a credential".to_owned(),
                others => format!("made with the credential {}", others.join(", ")),
            }
        } else {
            return None;
        };
        let message = format!("this example fails: {question} is {found}");
        let hint = "correct the policy, or what is expected";
        Some(self.origin.diagnostic(message).with_hint(hint))
    }

    fn complete(&self, question: Question) -> Question {
        match question {
            Question::Request { destination, protocol, method, target, websocket, .. } => {
                let (websocket, body) = (websocket || self.websocket, self.body.or(Some(0)));
                Question::Request { destination, protocol, method, target, websocket, body }
            }
            other => other,
        }
    }
}

fn placeholder(client: Client) -> String {
    format!("{{{client}}}")
}
