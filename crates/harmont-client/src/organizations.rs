//! Organizations, their members, invitations and pipelines.

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::builds::paging;
use crate::models::{Invite, Member, NewOrganization, NewPipeline, Organization, Page, Pipeline, Role};
use crate::{HarmontClient, Result};

impl HarmontClient {
    /// A page of the user's organizations.
    ///
    /// # Errors
    /// As every request.
    pub async fn organizations(
        &self,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<Organization>> {
        self.get(&["organizations"], &paging(limit, cursor)).await
    }

    /// An organization.
    ///
    /// # Errors
    /// [`crate::HarmontError::NotFound`].
    pub async fn organization(&self, org: &str) -> Result<Organization> {
        self.get(&["organizations", org], &[]).await
    }

    /// Makes an organization, which the user owns.
    ///
    /// # Errors
    /// [`crate::HarmontError::Rejected`] where the name is taken or no name.
    pub async fn create_organization(&self, new: &NewOrganization) -> Result<Organization> {
        self.post(&["organizations"], new).await
    }

    /// An organization's members.
    ///
    /// # Errors
    /// [`crate::HarmontError::NotFound`].
    pub async fn members(&self, org: &str) -> Result<Vec<Member>> {
        let page: Page<Member> = self.get(&["organizations", org, "members"], &[]).await?;
        Ok(page.data)
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// [`crate::HarmontError::Forbidden`], or [`crate::HarmontError::Rejected`] for the last owner.
    pub async fn set_role(&self, org: &str, user: Uuid, role: Role) -> Result<Member> {
        let user = user.to_string();
        let path = ["organizations", org, "members", &user];
        self.patch(&path, &json!({ "role": role })).await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// As [`HarmontClient::set_role`].
    pub async fn remove_member(&self, org: &str, user: Uuid) -> Result<()> {
        let user = user.to_string();
        self.delete(&["organizations", org, "members", &user]).await
    }

    /// An organization's open invitations, without their tokens.
    ///
    /// # Errors
    /// [`crate::HarmontError::NotFound`].
    pub async fn invites(&self, org: &str) -> Result<Vec<Invite>> {
        let page: Page<Invite> = self.get(&["organizations", org, "invites"], &[]).await?;
        Ok(page.data)
    }

    /// Invites somebody; the answer has the token that accepts it.
    ///
    /// # Errors
    /// [`crate::HarmontError::Forbidden`] for whoever is no administrator.
    pub async fn invite(&self, org: &str, email: &str, role: Role) -> Result<Invite> {
        #[derive(Serialize)]
        struct Body<'a> {
            email: &'a str,
            role: Role,
        }
        self.post(&["organizations", org, "invites"], &Body { email, role })
            .await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// As [`HarmontClient::invite`].
    pub async fn revoke_invite(&self, org: &str, invite: Uuid) -> Result<()> {
        let invite = invite.to_string();
        self.delete(&["organizations", org, "invites", &invite]).await
    }

    /// Accepts an invitation.
    ///
    /// # Errors
    /// [`crate::HarmontError::Rejected`] where it is none, or too old.
    pub async fn accept_invite(&self, token: &str) -> Result<Organization> {
        self.post(&["invites", "accept"], &json!({ "token": token }))
            .await
    }

    /// A page of an organization's pipelines.
    ///
    /// # Errors
    /// [`crate::HarmontError::NotFound`].
    pub async fn pipelines(
        &self,
        org: &str,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<Pipeline>> {
        self.get(&["organizations", org, "pipelines"], &paging(limit, cursor))
            .await
    }

    /// A pipeline.
    ///
    /// # Errors
    /// [`crate::HarmontError::NotFound`].
    pub async fn pipeline(&self, org: &str, pipeline: &str) -> Result<Pipeline> {
        self.get(&["organizations", org, "pipelines", pipeline], &[])
            .await
    }

    /// Makes a pipeline.
    ///
    /// # Errors
    /// [`crate::HarmontError::Rejected`] where its slug is taken.
    pub async fn create_pipeline(&self, org: &str, new: &NewPipeline) -> Result<Pipeline> {
        self.post(&["organizations", org, "pipelines"], new).await
    }
}
