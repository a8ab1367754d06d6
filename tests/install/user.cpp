/* SPDX-License-Identifier: MIT */
/* The same in C++: names, enums and default linkage survive. */
#include <pfnbuf.h>

#include <cstring>
#include <memory>

namespace
{
struct free_ctx {
	void operator()(pfnbuf_ctx *ctx) const
	{
		pfnbuf_ctx_free(ctx);
	}
};

struct free_layout {
	void operator()(pfnbuf_layout *layout) const
	{
		pfnbuf_layout_free(layout);
	}
};
} // namespace

int main()
{
	pfnbuf_ctx *raw = nullptr;
	pfnbuf_layout *raw_layout = nullptr;
	pfnbuf_event event = {};

	if (pfnbuf_ctx_new(&raw, nullptr) < 0)
		return 1;
	std::unique_ptr<pfnbuf_ctx, free_ctx> ctx(raw);
	if (pfnbuf_ctx_dispatch(ctx.get()) != 0 || pfnbuf_ctx_pop_event(ctx.get(), &event) != 0)
		return 1;
	if (pfnbuf_layout_new(1 << 20, 4096, PFNBUF_SHARED, &raw_layout) < 0)
		return 1;
	std::unique_ptr<pfnbuf_layout, free_layout> layout(raw_layout);
	if (pfnbuf_layout_get_size(layout.get()) != 1 << 20)
		return 1;
	return std::strcmp(pfnbuf_state_name(PFNBUF_SUSPENDED), "SUSPENDED") != 0;
}
