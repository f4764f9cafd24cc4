//! DescribeAcls (key 29), v1-3. There is no authorizer: SECURITY_DISABLED, which consoles show as "no authorizer configured".

use std::ops::RangeInclusive;

use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use crate::protocol::error::ErrorCode;

pub struct DescribeAcls;

impl Api for DescribeAcls {
    type Request = DescribeAclsRequest;
    const NAME: &'static str = "DescribeAcls";
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    fn handle(_: &RequestContext, _: DescribeAclsRequest) -> Handled<DescribeAclsResponse> {
        Handled::Now(
            DescribeAclsResponse::default()
                .with_error_code(ErrorCode::SecurityDisabled.code())
                .with_error_message(Some(text("no authorizer is configured on this broker"))),
        )
    }
}
