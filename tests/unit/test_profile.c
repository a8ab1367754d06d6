/* SPDX-License-Identifier: MIT */
/* Profiles: those that the library comes with, and every way in which a text can be wrong. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/proposed.h"

/* The folder with the library's own; from the build. */
static const char *folder;

static struct pfnbuf_profile *load(const char *name)
{
	struct pfnbuf_text_error error = { 0 };
	struct pfnbuf_profile *profile = NULL;
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/%s.profile", folder, name);
	r = pfnbuf_profile_load(path, &profile, &error);
	if (r < 0)
		fail_msg("%s:%u:%u: %s (%s)", path, error.line, error.column, error.cause,
			 pfnbuf_last_error());
	assert_string_equal(pfnbuf_profile_get_name(profile), name);
	return profile;
}

/* Its print is a profile that says the same. */
static void check_print(const struct pfnbuf_profile *profile)
{
	const size_t length = pfnbuf_profile_print(profile, NULL, 0);
	struct pfnbuf_profile *again = NULL;
	char *text = malloc(length + 1);
	char small[8] = "xxxxxxx";

	assert_int_equal(pfnbuf_profile_print(profile, text, length + 1), length);
	assert_int_equal(strlen(text), length);
	assert_int_equal(pfnbuf_profile_print(profile, small, 5), length);
	assert_memory_equal(small, "name\0xx", 8);
	assert_int_equal(pfnbuf_profile_parse(text, length, &again, NULL), 0);
	assert_memory_equal(pfnbuf_profile_data(profile), pfnbuf_profile_data(again),
			    sizeof(struct pfnbuf_profile_data));
	pfnbuf_profile_unref(again);
	free(text);
}

/* The numbers in the files are those of the structs that go with them. */
static void own_profiles(void **state)
{
	struct pfnbuf_profile *mainline = load("mainline-7.3"), *tdx = load("tdx-rfc2");
	struct pfnbuf_profile *tsm5 = load("iommufd-tsm5"), *cca = load("cca7");
	struct pfnbuf_profile *gmem = load("gmem-inplace8");
	const struct pfnbuf_profile_data *d;
	struct pfnbuf_profile_info info;
	unsigned long request = 77;

	(void)state;
	pfnbuf_profile_get_info(mainline, &info);
	assert_string_equal(info.bind, "none");
	assert_string_equal(info.private_mmio, "none");
	assert_false(info.can_bind || info.has_private_mmio || info.has_gmem_attributes);
	assert_true(*info.needs);
	assert_false(pfnbuf_profile_gmem_attributes(mainline, &request));
	assert_false(pfnbuf_profile_gmem_attributes(NULL, &request));
	assert_int_equal(request, 77);

	d = pfnbuf_profile_data(tdx);
	assert_int_equal(d->bind, PFNBUF_TSM_VFIO_BIND);
	assert_int_equal(d->bind_request, VFIO_DEVICE_TSM_BIND);
	assert_int_equal(d->unbind_request, VFIO_DEVICE_TSM_UNBIND);
	assert_int_equal(d->private_mmio, PFNBUF_MMIO_DMABUF_SLOT);
	assert_int_equal(d->slot_flag, KVM_MEM_VFIO_DMABUF);
	assert_int_equal(d->private_attribute, 1);
	assert_int_equal(d->gmem_request, 0);

	d = pfnbuf_profile_data(tsm5);
	assert_int_equal(d->bind, PFNBUF_TSM_VDEVICE_OP);
	assert_int_equal(d->bind_request, IOMMU_VDEVICE_TSM_OP);
	assert_int_equal(d->bind_op, IOMMU_VDEVICE_TSM_BIND);
	assert_int_equal(d->unbind_op, IOMMU_VDEVICE_TSM_UNBIND);
	assert_int_equal(d->viommu_type, IOMMU_VIOMMU_TYPE_ARM_SMMUV3);
	assert_int_equal(d->private_mmio, PFNBUF_MMIO_PRE_FAULT);
	assert_int_equal(d->pre_fault_request, KVM_PRE_FAULT_MEMORY);

	d = pfnbuf_profile_data(cca);
	assert_int_equal(d->bind, PFNBUF_TSM_VDEVICE_ALLOC);
	assert_int_equal(d->viommu_type, IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3);
	assert_int_equal(d->private_mmio, PFNBUF_MMIO_VALIDATE);
	assert_int_equal(d->validate_request, IOMMU_VDEVICE_TSM_REQ);
	assert_int_equal(d->validate_op, TSM_REQ_VALIDATE_MMIO);
	assert_int_equal(d->validate_arch, IOMMU_VDEVICE_TSM_TVM_ARCH_CCA);
	assert_int_equal(d->private_attribute, 0);
	assert_true(pfnbuf_profile_gmem_attributes(cca, &request));
	assert_int_equal(request, KVM_SET_MEMORY_ATTRIBUTES2);

	pfnbuf_profile_get_info(gmem, &info);
	assert_false(info.can_bind);
	assert_true(info.has_gmem_attributes);

	check_print(mainline);
	check_print(tdx);
	check_print(tsm5);
	check_print(cca);
	check_print(gmem);
	pfnbuf_profile_unref(mainline);
	pfnbuf_profile_unref(tdx);
	pfnbuf_profile_unref(tsm5);
	pfnbuf_profile_unref(cca);
	pfnbuf_profile_unref(gmem);
	assert_null(pfnbuf_profile_unref(NULL));
}

#define NONE "name = x\nbind = none\nprivate = none\n"
#define TDX                                                                                        \
	"name = x\nbind = vfio-tsm-bind\nbind.struct = vfio-pci-tsm-bind\nbind.request = 1\n"      \
	"unbind.request = 2\nunbind.mappings = go\nviommu.type = 0\n"
#define SLOT                                                                                       \
	"private = kvm-dmabuf-slot\nprivate.flag = 8\nprivate.buffer = whole\n"                    \
	"private.attribute = yes\n"

static const struct {
	const char *text;
	unsigned line, column;
	const char *cause;   /* part of it */
	const char *missing; /* the key */
} wrong[] = {
	{ "", 1, 1, "missing", "name" },
	{ "# nothing\n", 2, 1, "missing", "name" },
	{ "name = x\n  bund = none\n", 2, 3, "no profile has such a key", NULL },
	{ "name = x\nbind none\n", 2, 6, "'=' is missing", NULL },
	{ "name = x\nbind", 2, 5, "'=' is missing", NULL },
	{ "name = x\n = none\n", 2, 2, "a key is missing", NULL },
	{ "name = x\nbind = nine\n", 2, 8, "not one of the words", NULL },
	{ "name = x\nbind =\n", 2, 7, "not one of the words", NULL },
	{ "name = x y\n", 1, 10, "something follows", NULL },
	{ "name = \n", 1, 8, "a name is missing", NULL },
	{ "name = \"x\"\n", 1, 8, "a name is missing", NULL },
	{ "name = 0123456789012345678901234567890123456789012345678901234567890123\n", 1, 8,
	  "too long", NULL },
	{ "name = x\nname = y\n", 2, 1, "has come before", NULL },
	{ "name = x\nabout = \n", 2, 9, "a text is missing", NULL },
	{ "name = x\nabout = a\033b\n", 2, 10, "not a printable", NULL },
	{ NONE "gmem.request = 0x\n", 4, 17, "not a digit", NULL },
	{ NONE "gmem.request = 12a\n", 4, 18, "not a digit", NULL },
	{ NONE "gmem.request =\n", 4, 15, "a number is missing", NULL },
	{ NONE "gmem.request = -1\n", 4, 16, "not a digit", NULL },
	{ NONE "gmem.request = 0x100000000\n", 4, 16, "above 2^32 - 1", NULL },
	{ NONE "gmem.request = 4294967296\n", 4, 16, "above 2^32 - 1", NULL },
	{ NONE "gmem.request = 5\n", 4, 1, "go together", NULL },
	{ NONE "gmem.struct = kvm-memory-attributes2\n", 4, 1, "go together", NULL },
	{ NONE "gmem.struct = kvm-memory-attributes2\ngmem.request = 0\n", 5, 1, "no ioctl", NULL },
	{ "name = x\nbind = vfio-tsm-bind\nbind.struct = vfio-pci-tsm-bind\nbind.request = 0\n"
	  "unbind.request = 2\nunbind.mappings = go\nviommu.type = 0\n" SLOT,
	  4, 1, "no ioctl", NULL },
	{ TDX "private = pre-fault\nprivate.flag = 8\nprivate.buffer = whole\n"
	      "private.attribute = yes\npre-fault.request = 0\n",
	  12, 1, "no ioctl", NULL },
	{ "name = x\nbind = vfio-tsm-bind\nbind.struct = vfio-pci-tsm-bind\nbind.request = 2\n"
	  "unbind.request = 2\nunbind.mappings = go\nviommu.type = 0\n" SLOT,
	  5, 1, "the call that binds", NULL },
	{ "name = x\nbind = iommufd-tsm-op\nbind.struct = iommu-vdevice-tsm-op\n"
	  "bind.request = 1\nbind.op = 2\nunbind.op = 2\nunbind.mappings = go\n"
	  "viommu.type = 0\n" SLOT,
	  6, 1, "the operation that binds", NULL },
	{ NONE "bind.request = 5\n", 4, 1, "no use for it", NULL },
	{ NONE "private.flag = 8\n", 4, 1, "no use for it", NULL },
	{ "name = x\nbind = none\n" SLOT, 3, 1, "takes a way to bind", NULL },
	{ TDX, 8, 1, "missing", "private" },
	{ TDX "private = kvm-dmabuf-slot\n", 9, 1, "missing", "private.flag" },
	{ TDX "private = kvm-dmabuf-slot\nprivate.flag = 0\nprivate.buffer = whole\n"
	      "private.attribute = yes\n",
	  9, 1, "a flag has a bit", NULL },
	{ TDX "private = pre-fault\nprivate.flag = 8\nprivate.buffer = whole\n"
	      "private.attribute = yes\n",
	  12, 1, "missing", "pre-fault.request" },
	{ TDX SLOT "bind.op = 1\n", 12, 1, "no use for it", NULL },
	{ "name = x\nbind = vfio-tsm-bind\nbind.struct = iommu-vdevice-tsm-op\n"
	  "bind.request = 1\nunbind.request = 2\nunbind.mappings = go\nviommu.type = 0\n" SLOT,
	  3, 1, "another way to bind", NULL },
	{ "name = x\nbind = iommufd-vdevice-alloc\nunbind.mappings = go\nviommu.type = 3\nprivate = validate-mmio\n"
	  "private.attribute = yes\nvalidate.struct = iommu-vdevice-tsm-req\n"
	  "validate.payload = arm64-vdev-validate-mmio\nvalidate.request = 1\n"
	  "validate.op = 4\nvalidate.arch = 1\n",
	  6, 1, "no attribute", NULL },
};

static void wrong_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++) {
		struct pfnbuf_text_error e = { 77, 77, "?", NULL };
		struct pfnbuf_profile *profile = (void *)1;
		const size_t length = strlen(wrong[i].text);

		print_message("text %zu\n", i);
		assert_int_equal(pfnbuf_profile_parse(wrong[i].text, length, &profile, NULL),
				 -EINVAL);
		assert_int_equal(pfnbuf_profile_parse(wrong[i].text, length, &profile, &e),
				 -EINVAL);
		assert_ptr_equal(profile, (void *)1);
		if (!strstr(e.cause, wrong[i].cause))
			fail_msg("%s", e.cause);
		assert_true(strstr(pfnbuf_last_error(), e.cause));
		assert_int_equal(e.line, wrong[i].line);
		assert_int_equal(e.column, wrong[i].column);
		assert_int_equal(!e.missing, !wrong[i].missing);
		if (e.missing)
			assert_string_equal(e.missing, wrong[i].missing);
	}
}

/* What people write: blanks, tabs, comments behind values, CR LF, no newline at the end. */
static void loose_texts(void **state)
{
	static const char text[] = "\r\n\t# one\r\n name=x # its name\r\n\n"
				   "about =  two\twords \r\nneeds = c#\nbind\t=\tnone#\n"
				   "private = none";
	struct pfnbuf_text_error untouched = { 77, 77, NULL, NULL };
	struct pfnbuf_profile *profile = NULL;
	struct pfnbuf_profile_info info;

	(void)state;
	assert_int_equal(pfnbuf_profile_parse(text, sizeof(text) - 1, &profile, &untouched), 0);
	assert_int_equal(untouched.line, 77);
	pfnbuf_profile_get_info(profile, &info);
	assert_string_equal(info.name, "x");
	assert_string_equal(info.about, "two words");
	assert_string_equal(info.needs, "c#");
	check_print(profile);
	pfnbuf_profile_unref(profile);
	/* A NUL is no text. */
	assert_fails("pfnbuf_profile_parse",
		     pfnbuf_profile_parse("name = x\n\0", 10, &profile, NULL), EINVAL,
		     "pfnbuf_profile_parse", "text", NULL);
}

static void refuses(const char *path, int code, struct pfnbuf_text_error *error)
{
	struct pfnbuf_profile *profile = (void *)1;

	assert_fails("pfnbuf_profile_load", pfnbuf_profile_load(path, &profile, error), code,
		     "pfnbuf_profile_load", path, NULL);
	assert_ptr_equal(profile, (void *)1);
}

static void write_file(const char *path, const char *text, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

/* Nothing is hidden from root, so for the moment be somebody else. */
static void unreadable_file(void **state)
{
	char path[] = "/tmp/profile-XXXXXX";
	const uid_t me = geteuid();
	struct pfnbuf_profile *profile = NULL;
	int fd = mkstemp(path);
	int r;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(path, 0), 0);
	if (me == 0)
		assert_int_equal(seteuid(65534), 0);
	r = pfnbuf_profile_load(path, &profile, NULL);
	assert_int_equal(seteuid(me), 0);
	assert_fails("pfnbuf_profile_load", r, EACCES, "pfnbuf_profile_load", path, NULL);
	unlink(path);
}

static void wrong_files(void **state)
{
	struct pfnbuf_text_error error = { 0 };
	struct pfnbuf_profile *profile = NULL;
	char path[] = "/tmp/profile-XXXXXX";
	char *large = calloc(1, 65537);
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0 && large);
	close(fd);
	refuses("no-such", ENOENT, NULL);
	refuses("/no/such", ENOENT, NULL);
	write_file(path, "name = x\nbind = nine\n", 21);
	refuses(path, EINVAL, NULL);
	refuses(path, EINVAL, &error);
	assert_int_equal(error.line, 2);
	assert_int_equal(error.column, 8);
	assert_non_null(strstr(pfnbuf_last_error(), "line 2, column 8: not one of the words"));
	write_file(path, "name = x\nbind = none\n", 21);
	refuses(path, EINVAL, NULL);
	assert_non_null(strstr(pfnbuf_last_error(), "is missing: private"));

	memset(large, '#', 65537);
	write_file(path, large, 65537);
	refuses(path, EFBIG, NULL);
	assert_int_equal(pfnbuf_profile_parse(large, 65537, &profile, &error), -EINVAL);
	memcpy(large, NONE "#", sizeof(NONE));
	write_file(path, large, 65536);
	assert_int_equal(pfnbuf_profile_load(path, &profile, NULL), 0);
	pfnbuf_profile_unref(profile);
	unlink(path);
	free(large);
	refuses(folder, EISDIR, NULL);
}

static void a_context_speaks_one(void **state)
{
	struct pfnbuf_profile *tdx = load("tdx-rfc2"), *mainline = load("mainline-7.3");
	struct pfnbuf_ctx *ctx;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	assert_null(pfnbuf_ctx_profile(ctx));
	assert_int_equal(pfnbuf_ctx_set_profile(ctx, tdx), 0);
	assert_ptr_equal(pfnbuf_ctx_profile(ctx), tdx);
	assert_fails("pfnbuf_ctx_set_profile", pfnbuf_ctx_set_profile(ctx, mainline), EALREADY,
		     "pfnbuf_ctx_set_profile", "context", NULL);
	assert_non_null(strstr(pfnbuf_last_error(), "tdx-rfc2"));
	/* The context has its own reference. */
	tdx = pfnbuf_profile_unref(tdx);
	assert_string_equal(pfnbuf_profile_get_name(pfnbuf_ctx_profile(ctx)), "tdx-rfc2");
	pfnbuf_profile_unref(mainline);
	fixture_free_ctx(ctx);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_profiles),	   cmocka_unit_test(wrong_texts),
		cmocka_unit_test(loose_texts),	   cmocka_unit_test(wrong_files),
		cmocka_unit_test(unreadable_file), cmocka_unit_test(a_context_speaks_one),
	};

	folder = argc > 1 ? argv[1] : PROFILES;
	return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
