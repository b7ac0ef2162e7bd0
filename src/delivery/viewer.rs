//! Those who are told of changes, and what they may see by what they may do now.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::app::App;
use crate::auth::caller::{Caller, Identity};
use crate::auth::scope::Access;
use crate::auth::standing;
use crate::fhir::types::ResourceType;
use crate::interactions::access::{self, Sight};
use crate::interactions::subscription;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::notifications::Event;

/// Microseconds after which it is asked again whether somebody still may be told.
const STANDING: i64 = 5_000_000;

/// Somebody in whose name something is sent.
pub(super) struct Viewer {
    /// Who they were when they asked for it; `None` when that is not known.
    identity: Option<Arc<Identity>>,
    standing: RefCell<Standing>,
}

/// What somebody may see, and when that was found out.
#[derive(Default)]
struct Standing {
    at: i64,
    /// `None`: nobody stands for it any more.
    caller: Option<Caller>,
    sights: HashMap<ResourceType, Rc<Sight>>,
}

impl Viewer {
    pub fn new(identity: Option<Arc<Identity>>) -> Self {
        Self { identity, standing: RefCell::default() }
    }

    /// What they may read of a type.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be found out.
    pub async fn sight(&self, app: &App, resource_type: ResourceType) -> Result<Rc<Sight>, StoreError> {
        let now = app.now().0;
        // Either way: the clock may have been set back.
        if (now - self.standing.borrow().at).abs() >= STANDING {
            let caller = match &self.identity {
                Some(identity) => {
                    let trusts = |issuer: &str| app.settings.auth.issuers.iter().any(|it| it.issuer == issuer);
                    let find = async |conn: &mut Conn| standing::current(conn, identity, &app.anonymous, trusts).await;
                    app.store.read(find).await?.map(|identity| Caller { identity, address: None })
                }
                None => None,
            };
            self.standing.replace(Standing { at: now, caller, sights: HashMap::new() });
        }
        let mut standing = self.standing.borrow_mut();
        if let Some(sight) = standing.sights.get(&resource_type) {
            return Ok(Rc::clone(sight));
        }
        let sight = standing.caller.as_ref().map(|caller| access::sight(app, caller, Access::READ, resource_type));
        let sight = Rc::new(sight.unwrap_or(Sight::Nothing));
        standing.sights.insert(resource_type, Rc::clone(&sight));
        Ok(sight)
    }

    /// Whether they may read what an event is about.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be found out.
    pub async fn may_see(&self, app: &App, event: &Event) -> Result<bool, StoreError> {
        let sight = self.sight(app, event.resource_type).await?;
        match &*sight {
            Sight::Everything => Ok(true),
            Sight::Nothing => Ok(false),
            Sight::Only(_) => {
                let read = async |conn: &mut Conn| subscription::is_seen(app, conn, &sight, event).await;
                app.store.read(read).await
            }
        }
    }
}
