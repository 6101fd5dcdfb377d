"""Files of cloud-init."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.virtual import cloud_init
from toolkit.virtual.cloud_init import CardNetwork, Login

LOGIN = Login("anna", ("ssh-ed25519 AAAA anna@laptop",), "-----BEGIN\nkey\n-----END\n", "ssh-ed25519 BBBB\n")


def test_user_data_presets_account_keys_and_host_key() -> None:
    text = cloud_init.user_data("kitchen", LOGIN)
    settings = yaml.safe_load(text)
    assert text.startswith("#cloud-config\n")
    assert settings["hostname"] == "kitchen"
    assert settings["ssh_keys"] == {"ed25519_private": LOGIN.host_key, "ed25519_public": "ssh-ed25519 BBBB"}
    (user,) = settings["users"]
    assert (user["name"], user["ssh_authorized_keys"]) == ("anna", list(LOGIN.authorized_keys))
    assert user["lock_passwd"] is True
    assert settings["ssh_pwauth"] is False


def test_private_host_key_is_removed_after_the_first_boot() -> None:
    settings = yaml.safe_load(cloud_init.user_data("kitchen", LOGIN))
    assert ["systemctl", "mask", "--now", "regenerate_ssh_host_keys.service"] in settings["bootcmd"]
    assert "user-data" in settings["runcmd"][-1][-1]


@settings(deadline=None)
@given(st.text(min_size=1, max_size=32), st.text(min_size=8, max_size=63))
def test_network_config_carries_any_wifi_name_and_password(ssid: str, password: str) -> None:
    text = cloud_init.network_config(CardNetwork(ssid, password, "PT"))
    wifi = yaml.safe_load(text)["network"]["wifis"]["wlan0"]
    assert wifi["access-points"] == {ssid: {"password": password}}
    assert (wifi["regulatory-domain"], wifi["dhcp4"]) == ("PT", True)


def test_network_config_sets_a_static_address_on_ethernet() -> None:
    network = CardNetwork(address="192.0.2.14/24", gateway="192.0.2.1")
    network.check()
    ethernet = yaml.safe_load(cloud_init.network_config(network))["network"]["ethernets"]["eth0"]
    assert ethernet["addresses"] == ["192.0.2.14/24"]
    assert ethernet["routes"] == [{"to": "default", "via": "192.0.2.1"}]
    assert ethernet["nameservers"] == {"addresses": ["192.0.2.1"]}
    assert ethernet["dhcp4"] is False


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (CardNetwork("home", "short", "PT"), "8 to 63 characters"),
        (CardNetwork("home", "long enough", "Portugal"), "not a country code"),
        (CardNetwork(address="192.0.2.14/24"), "needs its gateway"),
        (CardNetwork(address="192.0.2.14", gateway="192.0.2.1"), "no prefix length"),
        (CardNetwork(address="192.0.2.14/24", gateway="router"), "'router' does not appear"),
    ],
)
def test_wrong_network_settings_are_refused(network: CardNetwork, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        network.check()


def test_instance_id_replaces_an_earlier_one() -> None:
    before = "console=tty1 root=PARTUUID=1 ds=nocloud;i=rpi-imager-7 rootwait\n"
    after = cloud_init.kernel_command_line(before, "toolkit-1")
    assert after == "console=tty1 root=PARTUUID=1 rootwait ds=nocloud;i=toolkit-1\n"
