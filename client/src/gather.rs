//! Many callers, one statement: what gathers while a statement is on its way is asked by the next one.
//!
//! A caller that is alone asks at once; nothing waits for company. With many callers the cost of a commit, and of a notification, of
//! which the server lets one through at a time, is shared.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dacapo_store::{Store, StoreError};
use tokio::sync::{Semaphore, oneshot};

/// Statements of one kind under way at a time: one is carried out while the next one gathers and is sent.
const UNDER_WAY_MAX: usize = 2;

/// Questions that one statement asks, at most.
const TOGETHER_MAX: usize = 500;

/// Something that a statement can ask for many callers at once, and that does no harm when it is asked twice.
pub(crate) trait Question: Clone + fmt::Debug + Send + Sync + 'static {
    type Answer: fmt::Debug + Send + 'static;

    /// Asks them all in one statement. The answers are in the order of the questions.
    fn ask_all(
        store: &Store,
        questions: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// Questions of one kind that wait for their turn.
#[derive(Debug)]
pub(crate) struct Gathering<Q: Question> {
    waiting: Mutex<Vec<Waiting<Q>>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Waiting<Q: Question> {
    question: Q,
    reply: oneshot::Sender<Reply<Q::Answer>>,
}

#[derive(Debug)]
enum Reply<A> {
    Answer(A),
    /// Ask alone.
    Alone,
}

impl<Q: Question> Default for Gathering<Q> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Semaphore::new(UNDER_WAY_MAX),
        }
    }
}

impl<Q: Question> Gathering<Q> {
    /// Asks together with whoever else is waiting.
    ///
    /// The statement is carried out by a task, and not by one of the callers: a caller's future that nobody polls for a while would
    /// keep all others waiting.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        store: &Store,
        question: Q,
    ) -> Result<Q::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.waiting().push(Waiting {
            question: question.clone(),
            reply,
        });
        tokio::spawn(Arc::clone(self).take_turn(store.clone()));
        if let Ok(Reply::Answer(answer)) = answer.await {
            return Ok(answer);
        }
        // The statement failed, perhaps for somebody else's question, or its task ended with the runtime that it was on.
        let mut answers = Q::ask_all(store, std::slice::from_ref(&question)).await?;
        answers
            .pop()
            .ok_or_else(|| StoreError::Unreadable("a question has no answer".to_owned()))
    }

    /// Asks all that waits, for everybody who waits.
    async fn take_turn(self: Arc<Self>, store: Store) {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let taken = std::mem::take(&mut *self.waiting());
        let (questions, replies): (Vec<Q>, Vec<_>) = taken
            .into_iter()
            // Nobody waits any more for those whose callers were dropped.
            .filter(|one| !one.reply.is_closed())
            .map(|one| (one.question, one.reply))
            .unzip();
        let mut replies = replies.into_iter();
        for questions in questions.chunks(TOGETHER_MAX) {
            let replies = replies.by_ref().take(questions.len());
            match Q::ask_all(&store, questions).await {
                Ok(answers) => {
                    for (reply, answer) in replies.zip(answers) {
                        let _ = reply.send(Reply::Answer(answer));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, questions = questions.len(), "a statement for many failed; each asks alone");
                    for reply in replies {
                        let _ = reply.send(Reply::Alone);
                    }
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting<Q>>> {
        // The list is whole whenever the lock is free, whoever panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
