//! Trees of `/sys` after published listings: FT232R and CP2102 as in the udev rules of the Arch wiki and of Home
//! Assistant's forum, an Arduino Uno R3 as in `udevadm info` of Arduino's own help, and an ESP32-S3 with two CDC-ACM
//! interfaces as in Espressif's documentation of USB-Serial-JTAG.

use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for folder in [
            "sys/class/tty",
            "sys/bus/usb/drivers",
            "dev/serial/by-id",
            "proc",
        ] {
            fs::create_dir_all(tree.0.path().join(folder)).unwrap();
        }
        tree
    }

    fn roots(&self) -> Roots {
        let path = |name| self.0.path().join(name);
        Roots {
            sys: path("sys"),
            dev: path("dev"),
            proc: path("proc"),
        }
    }

    /// A USB device with its strings, below a hub.
    fn usb(&self, socket: &str, files: &[(&str, &str)]) -> PathBuf {
        let usb = self
            .0
            .path()
            .join("sys/devices/pci0000:00/0000:00:14.0/usb1/1-1")
            .join(socket);
        fs::create_dir_all(&usb).unwrap();
        for (name, text) in files {
            fs::write(usb.join(name), format!("{text}\n")).unwrap();
        }
        usb
    }

    /// A tty of a USB interface; a USB-serial driver has a folder of its own between them, CDC-ACM has not.
    fn tty(&self, usb: &Path, interface: u8, driver: &str, name: &str) {
        let socket = usb.file_name().unwrap().to_str().unwrap();
        let folder = usb.join(format!("{socket}:1.{interface}"));
        let device = match driver {
            "cdc_acm" => folder.clone(),
            _ => folder.join(name),
        };
        let tty = device.join("tty").join(name);
        fs::create_dir_all(&tty).unwrap();
        fs::write(folder.join("bInterfaceNumber"), format!("{interface:02}\n")).unwrap();
        let drivers = self.0.path().join("sys/bus/usb/drivers").join(driver);
        fs::create_dir_all(&drivers).unwrap();
        symlink(&drivers, device.join("driver")).unwrap();
        symlink(&device, tty.join("device")).unwrap();
        symlink(&tty, self.0.path().join("sys/class/tty").join(name)).unwrap();
    }

    /// A tty that is no USB device.
    fn platform(&self, name: &str, kind: Option<&str>, has_device: bool) {
        let tty = self
            .0
            .path()
            .join("sys/devices/platform")
            .join(name)
            .join("tty")
            .join(name);
        fs::create_dir_all(&tty).unwrap();
        if let Some(kind) = kind {
            fs::write(tty.join("type"), format!("{kind}\n")).unwrap();
        }
        if has_device {
            symlink("../..", tty.join("device")).unwrap();
        }
        symlink(&tty, self.0.path().join("sys/class/tty").join(name)).unwrap();
    }
}

/// An FT232R with a number, two CP2102 with the same one, an Arduino, a chip with two interfaces, ports of the board.
fn full() -> Tree {
    let tree = Tree::new();
    let ftdi = [
        ("idVendor", "0403"),
        ("idProduct", "6001"),
        ("serial", "A9M9DV3R"),
        ("manufacturer", "FTDI"),
        ("product", "FT232R USB UART"),
    ];
    tree.tty(&tree.usb("1-1.2", &ftdi), 0, "ftdi_sio", "ttyUSB10");
    let silabs = [
        ("idVendor", "10c4"),
        ("idProduct", "ea60"),
        ("serial", "0001"),
        ("manufacturer", "Silicon Labs"),
        ("product", "CP2102 USB to UART Bridge Controller"),
    ];
    tree.tty(&tree.usb("1-1.3", &silabs), 0, "cp210x", "ttyUSB0");
    tree.tty(&tree.usb("1-1.4", &silabs), 0, "cp210x", "ttyUSB1");
    let uno = [
        ("idVendor", "2341"),
        ("idProduct", "0043"),
        ("serial", "95735353032351D0F0E1"),
    ];
    tree.tty(&tree.usb("1-1.1", &uno), 0, "cdc_acm", "ttyACM0");
    let two = tree.usb("1-1.5", &[("idVendor", "303a"), ("idProduct", "4001")]);
    tree.tty(&two, 0, "cdc_acm", "ttyACM1");
    tree.tty(&two, 2, "cdc_acm", "ttyACM2");
    tree.platform("ttyAMA0", None, true);
    tree.platform("ttyS0", Some("4"), true);
    tree.platform("ttyS3", Some("0"), true);
    tree.platform("tty1", None, false);
    let link = "usb-FTDI_FT232R_USB_UART_A9M9DV3R-if00-port0";
    symlink(
        "../../ttyUSB10",
        tree.0.path().join("dev/serial/by-id").join(link),
    )
    .unwrap();
    tree
}

fn usb(id: &str, serial: Option<&str>) -> Finder {
    let (vendor, product) = id.split_once(':').unwrap();
    let hex = |text| u16::from_str_radix(text, 16).unwrap();
    Finder::Usb {
        id: UsbId {
            vendor: hex(vendor),
            product: hex(product),
        },
        serial: serial.map(str::to_owned),
    }
}

#[test]
fn devices_are_listed_with_all_that_names_them() {
    let tree = full();
    let devices = list(&tree.roots());
    let names: Vec<String> = devices
        .iter()
        .map(|device| device.tty.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "ttyS0", "ttyACM0", "ttyACM1", "ttyACM2", "ttyAMA0", "ttyUSB0", "ttyUSB1", "ttyUSB10"
        ]
    );
    let ftdi = devices.last().unwrap();
    assert_eq!(ftdi.driver.as_deref(), Some("ftdi_sio"));
    assert!(
        ftdi.by_id
            .as_ref()
            .unwrap()
            .ends_with("usb-FTDI_FT232R_USB_UART_A9M9DV3R-if00-port0")
    );
    let found = ftdi.usb.as_ref().unwrap();
    assert_eq!(
        (found.id.to_string().as_str(), found.socket.as_str()),
        ("0403:6001", "1-1.2")
    );
    assert_eq!(found.interface.as_deref(), Some("1-1.2:1.0"));
    assert_eq!(found.product.as_deref(), Some("FTDI FT232R USB UART"));
    let board = &devices[4];
    assert_eq!((&board.usb, &board.by_id), (&None, &None));
}

#[test]
fn a_device_is_found_by_id_number_and_socket() {
    let tree = full();
    let dev = |name: &str| Ok(tree.roots().dev.join(name));
    let check = |finder: Finder, expected| assert_eq!(find(&tree.roots(), &finder), expected);
    check(usb("0403:6001", None), dev("ttyUSB10"));
    check(usb("0403:6001", Some("A9M9DV3R")), dev("ttyUSB10"));
    check(usb("2341:0043", None), dev("ttyACM0"));
    check(Finder::At("1-1.4".to_owned()), dev("ttyUSB1"));
    check(Finder::At("1-1.5:1.2".to_owned()), dev("ttyACM2"));
    let nothing = |what: &str| Err(NotFound::Nothing(what.to_owned()));
    check(usb("0403:6001", Some("X")), nothing("USB 0403:6001/X"));
    check(Finder::At("1-1.9".to_owned()), nothing("socket 1-1.9"));
}

#[test]
fn two_of_a_kind_are_told_apart_by_their_sockets() {
    let tree = full();
    let error = find(&tree.roots(), &usb("10c4:ea60", Some("0001")))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("USB 10c4:ea60/0001 is there 2 times: "),
        "{error}"
    );
    assert!(error.contains("/ttyUSB0 at 1-1.3:1.0, "), "{error}");
    assert!(
        error.ends_with("write at = \"…\" with the socket of the one that is meant"),
        "{error}"
    );
    let error = find(&tree.roots(), &Finder::At("1-1.5".to_owned())).unwrap_err();
    assert!(
        error.to_string().contains("ttyACM2 at 1-1.5:1.2"),
        "{error}"
    );
}

#[test]
fn a_path_is_there_when_what_it_leads_to_is() {
    let tree = full();
    let path = tree.0.path().join("dev/ttyUSB10");
    let link = tree
        .0
        .path()
        .join("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9M9DV3R-if00-port0");
    assert!(find(&tree.roots(), &Finder::Path(link.clone())).is_err());
    fs::write(&path, "").unwrap();
    assert_eq!(find(&tree.roots(), &Finder::Path(link.clone())), Ok(link));
}
