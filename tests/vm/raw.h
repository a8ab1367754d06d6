/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_RAW_H
#define TESTS_VM_RAW_H

/*
 * The kernel's calls with nothing between: what a test uses to look at the kernel itself, or to do behind
 * the library's back what another process could do. Everything returns 0 or a fd, or a negative errno.
 */

#include <stddef.h>
#include <stdint.h>

#define RAW_BDF_SIZE 16 /* "0000:00:04.0" and its end */

/* The devices of the test machine (run.sh), by PCI vendor and device id. */
#define RAW_EDU	    0x1234, 0x11e8
#define RAW_IVSHMEM 0x1af4, 0x1110
#define RAW_NVME    0x1b36, 0x0010

/* The address of the nth (from 0) device of that kind in order of address: -ENODEV if there are fewer. */
int raw_find(unsigned vendor, unsigned device, unsigned nth, char bdf[RAW_BDF_SIZE]);

int raw_device_open(const char *bdf);
int raw_device_bind(int device, int iommufd);
int raw_device_attach(int device, uint32_t ioas);
int raw_device_reset(int device);

int raw_config_read16(int device, unsigned offset, uint16_t *value);
/* Set and clear bits of PCI_COMMAND. */
int raw_command(int device, uint16_t set, uint16_t clear);
/* Where a region is for pread, pwrite and mmap on the device's fd. */
uint64_t raw_region_offset(unsigned index);
uint64_t raw_region_size(int device, unsigned index);

/* A dma-buf over one slice of a BAR. */
int raw_export(int device, unsigned bar, uint64_t offset, uint64_t length);

int raw_ioas_alloc(int iommufd, uint32_t *ioas);
int raw_ioas_map(int iommufd, uint32_t ioas, void *va, uint64_t length, uint64_t iova);
int raw_ioas_map_file(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t length,
		      uint64_t iova);
int raw_ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length);
int raw_destroy(int iommufd, uint32_t id);

/* Let an eventfd be signalled when the driver is asked to give the device back; -1 takes it away. */
int raw_set_req_eventfd(int device, int eventfd);

#endif
