//! People and devices come in: from one string to a session and its stream.

use ztna_api::admin::{Answer, DeviceState, Op};
use ztna_api::device::ToDevice;
use ztna_api::token::{Admission, TokenErrorCode};
use ztna_auth::SignInError;

use crate::phone::Phone;
use crate::world::{PASSWORD, World};

#[tokio::test]
async fn p3_1_from_one_string_to_a_session_by_way_of_the_login_page() {
    let world = World::new().await;
    world.person("ana").await;
    let mut phone = Phone::of(&world, "ana").await;
    assert_eq!(phone.tokens().admission, Admission::Open, "a person's first device admits itself");
    assert_eq!(phone.signed_in().discovery.title, "Acme");
    assert_eq!(phone.signed_in().root, world.root());
    assert!(phone.signed_in().provider_refresh.is_some());
    let mut stream = phone.stream(&world).await;
    let ToDevice::Welcome(welcome) = stream.next().await.unwrap() else { panic!("no welcome") };
    assert_eq!((welcome.sid, welcome.device), (phone.tokens().sid, phone.tokens().device));
    stream.wait_for("resources").await;

    let Answer::Sessions { sessions } = world.ask(Op::Sessions {}).await else { panic!() };
    assert_eq!(sessions.len(), 1);
    assert!(sessions[0].connected);
}

#[tokio::test]
async fn p2_1_who_is_not_invited_or_does_not_know_the_password_stays_outside() {
    let world = World::new().await;
    let person = world.person("ana").await;
    let mut phone = Phone::new(&world);
    assert_eq!(phone.sign_in(&world, "ana", "wrong horse battery").await, Err(SignInError::TooLate));
    assert_eq!(phone.sign_in(&world, "bob", PASSWORD).await, Err(SignInError::TooLate));
    world.ask(Op::PersonRemove { person }).await;
    match phone.sign_in(&world, "ana", PASSWORD).await {
        Err(SignInError::Refused(error)) => assert_eq!(error.error, TokenErrorCode::AccessDenied),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn p2_2_a_second_device_waits_until_an_administrator_admits_it() {
    let world = World::new().await;
    let person = world.person("ana").await;
    let mut first = Phone::of(&world, "ana").await;
    let mut first_stream = first.stream(&world).await;
    let mut second = Phone::of(&world, "ana").await;
    assert_eq!(second.tokens().admission, Admission::Pending);
    let mut stream = second.stream(&world).await;
    let ToDevice::Waiting(waiting) = stream.wait_for("waiting").await else { panic!() };
    let ToDevice::Notice(notice) = first_stream.wait_for("notice").await else { panic!() };
    assert!(format!("{notice:?}").contains(&waiting.code), "{notice:?}");

    let Answer::Devices { devices } = world.ask(Op::Devices { person: Some(person) }).await else { panic!() };
    let waits = devices.iter().find(|device| matches!(device.state, DeviceState::Waiting { .. })).unwrap();
    world.ask(Op::DeviceAdmit { device: waits.id }).await;
    stream.wait_for("resources").await;
}
