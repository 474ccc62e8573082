//! Users, roles, and what roles may do.

use std::future::Future;

use etcd_proto::authpb::permission::Type;
use etcd_proto::authpb::{Permission as WirePermission, UserAddOptions};
use etcd_proto::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse,
    AuthRoleAddRequest, AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse,
    AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest,
    AuthStatusResponse, AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse, AuthUserDeleteRequest, AuthUserDeleteResponse,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserGrantRoleResponse,
    AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse,
};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::range::KeyRange;
use crate::request::Request;

/// What a role may do with a key or a range of keys.
///
/// ```
/// use etcd_core::{KeyRange, Permission};
///
/// let all_of_app = Permission::read_write(KeyRange::prefix("app/"));
/// let one_key = Permission::read("flags");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Permission {
    access: Type,
    keys: KeyRange,
}

impl Permission {
    /// To read and to watch.
    #[must_use]
    pub fn read(keys: impl Into<KeyRange>) -> Self {
        Self::new(Type::Read, keys)
    }

    /// To put and to delete.
    #[must_use]
    pub fn write(keys: impl Into<KeyRange>) -> Self {
        Self::new(Type::Write, keys)
    }

    /// To read and to write.
    #[must_use]
    pub fn read_write(keys: impl Into<KeyRange>) -> Self {
        Self::new(Type::Readwrite, keys)
    }

    fn new(access: Type, keys: impl Into<KeyRange>) -> Self {
        Self {
            access,
            keys: keys.into(),
        }
    }
}

impl From<Permission> for WirePermission {
    fn from(permission: Permission) -> Self {
        let (key, range_end) = permission.keys.into_parts();
        Self {
            perm_type: permission.access.into(),
            key,
            range_end,
        }
    }
}

/// Changes are writes: sent again only when they were certainly not applied. A name that is empty is refused before anything
/// is sent. Passwords appear in no `Debug` output and in no error.
///
/// Once authentication is enabled all of these but [`auth_status`](Self::auth_status) need a user with the role `root`: see
/// [`credentials`](crate::ClientBuilder::credentials). A client with credentials logs in by itself; the RPC Authenticate is
/// reached by [`send`](Self::send) with an `AuthenticateRequest`.
impl Client {
    /// Turns authentication on: from then on only users are served, each with what its roles permit.
    ///
    /// # Errors
    /// `EtcdError::RootUserNotExist` and `RootRoleNotExist` unless there is a user `root` with the role `root`; those of
    /// [`send`](Self::send). Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client, password: String) -> etcd_core::Result<()> {
    /// client.user_add("root", password).await?;
    /// client.role_add("root").await?;
    /// client.user_grant_role("root", "root").await?;
    /// client.auth_enable().await?;
    /// # Ok(()) }
    /// ```
    pub fn auth_enable(&self) -> impl Future<Output = Result<AuthEnableResponse>> + Send + use<> {
        self.send(AuthEnableRequest {})
    }

    /// Turns authentication off. Users and roles stay.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); that it is off already is none. Dropping the future leaves the outcome unknown.
    pub fn auth_disable(&self) -> impl Future<Output = Result<AuthDisableResponse>> + Send + use<> {
        self.send(AuthDisableRequest {})
    }

    /// Whether authentication is on, and the revision of users and roles. Asked without a token, which etcd 3.7 and later answer;
    /// before, it needs the role `root`, and is asked again with a token if the client has credentials.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) before etcd 3.5; those of [`send`](Self::send). Dropping the future leaves
    /// nothing behind.
    pub fn auth_status(&self) -> impl Future<Output = Result<AuthStatusResponse>> + Send + use<> {
        self.send(AuthStatusRequest {})
    }

    /// Adds a user who identifies by a password.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for an empty name or password, `EtcdError::UserAlreadyExists`; those of [`send`](Self::send).
    /// Dropping the future leaves the outcome unknown.
    pub fn user_add(
        &self,
        name: impl Into<String>,
        password: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserAddResponse>> + Send + 'static {
        let password = given("the password", password);
        self.send_if(given("the user's name", name).and_then(|name| {
            Ok(AuthUserAddRequest {
                name,
                password: password?,
                ..Default::default()
            })
        }))
    }

    /// Adds a user who cannot identify by a password, but by the common name of a TLS certificate or by a signed token.
    ///
    /// # Errors
    /// Those of [`user_add`](Self::user_add). Dropping the future leaves the outcome unknown.
    #[doc(alias = "UserAddWithOptions")]
    pub fn user_add_no_password(
        &self,
        name: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserAddResponse>> + Send + 'static {
        self.send_if(
            given("the user's name", name).map(|name| AuthUserAddRequest {
                name,
                options: Some(UserAddOptions { no_password: true }),
                ..Default::default()
            }),
        )
    }

    /// The roles of a user.
    ///
    /// # Errors
    /// `EtcdError::UserNotFound`; those of [`send`](Self::send). Dropping the future leaves nothing behind.
    pub fn user_get(
        &self,
        name: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserGetResponse>> + Send + 'static {
        self.send_if(given("the user's name", name).map(|name| AuthUserGetRequest { name }))
    }

    /// The names of all users.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves nothing behind.
    pub fn user_list(&self) -> impl Future<Output = Result<AuthUserListResponse>> + Send + use<> {
        self.send(AuthUserListRequest {})
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// `EtcdError::UserNotFound`, `InvalidAuthManagement` for `root` while authentication is on; those of
    /// [`send`](Self::send). Dropping the future leaves the outcome unknown.
    pub fn user_delete(
        &self,
        name: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserDeleteResponse>> + Send + 'static {
        self.send_if(given("the user's name", name).map(|name| AuthUserDeleteRequest { name }))
    }

    /// Gives a user another password. The tokens that the user has become invalid.
    ///
    /// # Errors
    /// `EtcdError::UserNotFound`; those of [`user_add`](Self::user_add). Dropping the future leaves the outcome unknown.
    pub fn user_change_password(
        &self,
        name: impl Into<String>,
        password: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserChangePasswordResponse>> + Send + 'static {
        let password = given("the password", password);
        self.send_if(given("the user's name", name).and_then(|name| {
            Ok(AuthUserChangePasswordRequest {
                name,
                password: password?,
                ..Default::default()
            })
        }))
    }

    /// Gives a user a role. That the user has it already is no error.
    ///
    /// # Errors
    /// `EtcdError::UserNotFound`, `RoleNotFound`; those of [`send`](Self::send). Dropping the future leaves the outcome
    /// unknown.
    pub fn user_grant_role(
        &self,
        user: impl Into<String>,
        role: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserGrantRoleResponse>> + Send + 'static {
        let role = given("the role's name", role);
        self.send_if(
            given("the user's name", user)
                .and_then(|user| Ok(AuthUserGrantRoleRequest { user, role: role? })),
        )
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// `EtcdError::UserNotFound`, `RoleNotGranted`; those of [`send`](Self::send). Dropping the future leaves the outcome
    /// unknown.
    pub fn user_revoke_role(
        &self,
        user: impl Into<String>,
        role: impl Into<String>,
    ) -> impl Future<Output = Result<AuthUserRevokeRoleResponse>> + Send + 'static {
        let role = given("the role's name", role);
        self.send_if(
            given("the user's name", user)
                .and_then(|name| Ok(AuthUserRevokeRoleRequest { name, role: role? })),
        )
    }

    /// Adds a role, which permits nothing yet. The one called `root` permits everything.
    ///
    /// # Errors
    /// `EtcdError::RoleAlreadyExists`; those of [`send`](Self::send). Dropping the future leaves the outcome unknown.
    pub fn role_add(
        &self,
        name: impl Into<String>,
    ) -> impl Future<Output = Result<AuthRoleAddResponse>> + Send + 'static {
        self.send_if(given("the role's name", name).map(|name| AuthRoleAddRequest { name }))
    }

    /// What a role permits.
    ///
    /// # Errors
    /// `EtcdError::RoleNotFound`; those of [`send`](Self::send). Dropping the future leaves nothing behind.
    pub fn role_get(
        &self,
        role: impl Into<String>,
    ) -> impl Future<Output = Result<AuthRoleGetResponse>> + Send + 'static {
        self.send_if(given("the role's name", role).map(|role| AuthRoleGetRequest { role }))
    }

    /// The names of all roles.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves nothing behind.
    pub fn role_list(&self) -> impl Future<Output = Result<AuthRoleListResponse>> + Send + use<> {
        self.send(AuthRoleListRequest {})
    }

    /// Deletes a role, and takes it from every user.
    ///
    /// # Errors
    /// `EtcdError::RoleNotFound`, `InvalidAuthManagement` for `root` while authentication is on; those of
    /// [`send`](Self::send). Dropping the future leaves the outcome unknown.
    pub fn role_delete(
        &self,
        role: impl Into<String>,
    ) -> impl Future<Output = Result<AuthRoleDeleteResponse>> + Send + 'static {
        self.send_if(given("the role's name", role).map(|role| AuthRoleDeleteRequest { role }))
    }

    /// Permits a role something. A permission of the same keys is replaced.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for a range that names no key, `EtcdError::RoleNotFound`; those of [`send`](Self::send).
    /// Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{KeyRange, Permission};
    /// client.role_add("app").await?;
    /// client.role_grant_permission("app", Permission::read_write(KeyRange::prefix("app/"))).await?;
    /// client.user_grant_role("alice", "app").await?;
    /// # Ok(()) }
    /// ```
    pub fn role_grant_permission(
        &self,
        role: impl Into<String>,
        permission: Permission,
    ) -> impl Future<Output = Result<AuthRoleGrantPermissionResponse>> + Send + 'static {
        self.send_if(given("the role's name", role).and_then(|name| {
            permission.keys.check()?;
            let perm = Some(permission.into());
            Ok(AuthRoleGrantPermissionRequest { name, perm })
        }))
    }

    /// Takes the permission of exactly these keys from a role.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for a range that names no key, `EtcdError::RoleNotFound`, `PermissionNotGranted` when the role
    /// has none of exactly these keys; those of [`send`](Self::send). Dropping the future leaves the outcome unknown.
    pub fn role_revoke_permission(
        &self,
        role: impl Into<String>,
        keys: impl Into<KeyRange>,
    ) -> impl Future<Output = Result<AuthRoleRevokePermissionResponse>> + Send + 'static {
        let keys = keys.into();
        self.send_if(given("the role's name", role).and_then(|role| {
            keys.check()?;
            let (key, range_end) = keys.into_parts();
            Ok(AuthRoleRevokePermissionRequest {
                role,
                key,
                range_end,
            })
        }))
    }

    fn send_if<R: Request>(
        &self,
        request: Result<R>,
    ) -> impl Future<Output = Result<<R::Wire as etcd_proto::rpc::Unary>::Reply>> + Send + use<R>
    {
        let reply = request.map(|request| self.send(request));
        async move { reply?.await }
    }
}

/// Refuses what is empty: etcd answers an empty user name with the error that asks for a new token.
fn given(what: &str, text: impl Into<String>) -> Result<String> {
    let text = text.into();
    if text.is_empty() {
        return Err(Error::invalid_request(format!("{what} is empty")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_has_the_fields_that_etcd_wants() {
        let wire = |access: Type, key: &'static str, range_end: &'static str| WirePermission {
            perm_type: access.into(),
            key: key.into(),
            range_end: range_end.into(),
        };
        for (permission, expected) in [
            (Permission::read("k"), wire(Type::Read, "k", "")),
            (
                Permission::write(KeyRange::prefix("app/")),
                wire(Type::Write, "app/", "app0"),
            ),
            (
                Permission::read_write(KeyRange::all()),
                wire(Type::Readwrite, "\0", "\0"),
            ),
        ] {
            assert_eq!(WirePermission::from(permission), expected);
        }
    }

    #[test]
    fn what_is_empty_is_refused_by_its_name() {
        let error = given("the password", "").unwrap_err();
        assert!(error.to_string().ends_with("the password is empty"));
        assert_eq!(given("the password", "p").unwrap(), "p");
    }
}
