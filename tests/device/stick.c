/* A libusb that plays a Neural Compute Stick 2, so that Intel's own plugin says what it says when one does not work.
 *
 *   cc -shared -fPIC -Wl,-soname,libusb-1.0.so.0 -o libusb-1.0.so.0 stick.c
 *   LD_LIBRARY_PATH=. STICK=closed|claimed|lost python …
 *
 * closed: it may not be opened. claimed: it runs already. lost: it takes its firmware, and is silent from then on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ACCESS = -3, TIMEOUT = -7, WAITING = 0x2485, RUNNING = 0xf63b, FIRMWARE_BYTES = 1500000 };

typedef struct { uint8_t length, type; uint16_t usb; uint8_t class[3], packet; uint16_t vendor, product, release; uint8_t rest[4]; } device_t;
typedef struct { uint8_t length, type, address, attributes; uint16_t packet; uint8_t rest[3]; const void *extra; int extra_length; } endpoint_t;
typedef struct { uint8_t length, type, number, setting, endpoints, class[3], name; const endpoint_t *endpoint; const void *extra; int extra_length; } setting_t;
typedef struct { const setting_t *setting; int settings; } interface_t;
typedef struct { uint8_t length, type; uint16_t total; uint8_t interfaces, value, name, attributes, power; const interface_t *interface; const void *extra; int extra_length; } config_t;

static int product = WAITING, written;
static const endpoint_t endpoints[] = {{7, 5, 0x81, 2, 512}, {7, 5, 0x01, 2, 512}};
static const setting_t setting = {9, 4, 0, 0, 2, {255, 255, 255}, 0, endpoints};
static const interface_t interface = {&setting, 1};
static const config_t config = {9, 2, 32, 1, 1, 0, 0x80, 250, &interface};

static int plays(const char *what) { const char *set = getenv("STICK"); return set && !strcmp(set, what); }

int libusb_init(void **context) { return 0; }
void libusb_exit(void *context) {}

long libusb_get_device_list(void *context, void ***list) {
    *list = calloc(2, sizeof **list);
    (*list)[0] = &product;
    if (plays("claimed")) product = RUNNING;
    return 1;
}

void libusb_free_device_list(void **list, int unref) { free(list); }

int libusb_get_device_descriptor(void *device, device_t *found) {
    memset(found, 0, sizeof *found);
    found->length = 18, found->type = 1, found->usb = 0x0200, found->vendor = 0x03e7, found->product = product;
    return 0;
}

int libusb_open(void *device, void **handle) { *handle = device; return plays("closed") ? ACCESS : 0; }
void libusb_close(void *handle) {}
int libusb_claim_interface(void *handle, int number) { return 0; }
int libusb_release_interface(void *handle, int number) { return 0; }
int libusb_detach_kernel_driver(void *handle, int number) { return 0; }
int libusb_set_configuration(void *handle, int number) { return 0; }
void *libusb_ref_device(void *device) { return device; }
void libusb_unref_device(void *device) {}
uint8_t libusb_get_bus_number(void *device) { return 1; }
int libusb_get_port_numbers(void *device, uint8_t *numbers, int room) { numbers[0] = 1; return 1; }
int libusb_get_config_descriptor(void *device, uint8_t number, const config_t **found) { *found = &config; return 0; }
void libusb_free_config_descriptor(void *found) {}
const char *libusb_strerror(int code) { return code == ACCESS ? "Access denied (insufficient permissions)" : "Operation timed out"; }

int libusb_bulk_transfer(void *handle, unsigned char endpoint, void *bytes, int count, int *done, unsigned wait_ms) {
    *done = product == WAITING ? count : 0;
    written += *done;
    if (product == RUNNING) return TIMEOUT;
    if (written > FIRMWARE_BYTES) product = RUNNING;
    return 0;
}
