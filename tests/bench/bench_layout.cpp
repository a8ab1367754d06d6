/* SPDX-License-Identifier: MIT */
/*
 * Layouts against CRoaring, Boost.ICL and a plain bitmap, on 2^28 frames (1 TiB of 4 KiB pages), in one run.
 *
 *	bench_layout [SIZE]...    such as 1M_1to8; all
 *
 * Prints one line per figure: layout.<figure>.<size>.<unit or peer> <value>. With a peer's name the value is our time (or
 * memory) divided by the peer's, else it is ours in that unit. Sizes are operations and pages per operation: 1M_1to8.
 * Lines that begin with # say which goals were missed.
 *
 * Every peer gets the same random conversions between shared and private. CRoaring holds a single bitmap of private
 * pages, two states where a layout has three: what that saves it is left to it. The bitmap has two bits per frame, and
 * bitmap1 one. None of them counts runs and frames on the way, as a layout does.
 */
#include <pfnbuf.h>

#include <boost/icl/interval_map.hpp>
#include <roaring/roaring.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <malloc.h>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace
{

constexpr uint64_t FRAMES = UINT64_C(1) << 28;
constexpr uint64_t PAGE = 4096;

struct Conversion {
	uint32_t first;
	uint32_t end;
	pfnbuf_vis vis;
};

/* What is read from a peer, so that no compiler drops the reading, and so that they can be held against each other. */
struct Run {
	uint64_t first;
	uint64_t end;
	unsigned vis;
};

/* ------------------------------------------------------------------ the peers ------------------------------------- */

class Layout
{
      public:
	static constexpr const char *name = "ours";
	static constexpr uint64_t UNIT = PAGE; /* in which each_run() speaks */

	Layout()
	{
		if (pfnbuf_layout_new(FRAMES * PAGE, PAGE, PFNBUF_SHARED, &layout) < 0)
			std::abort();
	}
	Layout(const Layout &) = delete;
	~Layout()
	{
		pfnbuf_layout_free(layout);
	}
	void set(const Conversion &c)
	{
		if (pfnbuf_layout_set(layout, c.first * PAGE, (c.end - c.first) * PAGE, c.vis) < 0)
			std::abort();
	}
	unsigned get(uint32_t frame) const
	{
		return static_cast<unsigned>(pfnbuf_layout_get(layout, frame * PAGE, nullptr));
	}
	Run get_run(uint32_t frame) const
	{
		pfnbuf_run run;

		pfnbuf_layout_get(layout, frame * PAGE, &run);
		return { run.offset / PAGE, (run.offset + run.length) / PAGE, run.vis };
	}
	template <typename Visit> Visit each_run(Visit visit) const
	{
		pfnbuf_run runs[256];
		uint64_t pos = 0;

		for (int n; (n = pfnbuf_layout_next(layout, &pos, runs, 256)) > 0;) {
			for (int i = 0; i < n; i++)
				visit(runs[i].offset, runs[i].length, runs[i].vis);
		}
		return visit;
	}

	pfnbuf_layout *layout = nullptr;
};

class Roaring
{
      public:
	static constexpr const char *name = "roaring";
	static constexpr uint64_t UNIT = 1;

	Roaring() : bitmap(roaring_bitmap_create())
	{
	}
	Roaring(const Roaring &) = delete;
	~Roaring()
	{
		roaring_bitmap_free(bitmap);
	}
	void set(const Conversion &c)
	{
		if (c.vis == PFNBUF_PRIVATE)
			roaring_bitmap_add_range_closed(bitmap, c.first, c.end - 1);
		else
			roaring_bitmap_remove_range_closed(bitmap, c.first, c.end - 1);
	}
	unsigned get(uint32_t frame) const
	{
		return roaring_bitmap_contains(bitmap, frame) ? PFNBUF_PRIVATE : PFNBUF_SHARED;
	}
	/* Step out of the run on both sides. Gaps take one step. */
	Run get_run(uint32_t frame) const
	{
		roaring_uint32_iterator_t it;
		bool is_private = roaring_bitmap_contains(bitmap, frame);
		uint64_t first = 0, end = FRAMES;

		roaring_init_iterator(bitmap, &it);
		roaring_move_uint32_iterator_equalorlarger(&it, frame);
		if (!is_private) {
			if (!it.has_value) {
				roaring_init_iterator_last(bitmap, &it);
				first = it.has_value ? it.current_value + 1 : 0;
				return { first, end, PFNBUF_SHARED };
			}
			end = it.current_value;
			roaring_previous_uint32_iterator(&it);
			first = it.has_value ? it.current_value + 1 : 0;
			return { first, end, PFNBUF_SHARED };
		}
		roaring_uint32_iterator_t back = it;
		for (end = frame; it.has_value && it.current_value == end; end++)
			roaring_advance_uint32_iterator(&it);
		for (first = frame + UINT64_C(1); back.has_value && back.current_value == first - 1;
		     first--)
			roaring_previous_uint32_iterator(&back);
		return { first, end, PFNBUF_PRIVATE };
	}
	/* Reading values in bulk is its fastest way; the callback and the stepping iterator are slower. */
	template <typename Visit> Visit each_run(Visit visit) const
	{
		roaring_uint32_iterator_t it;
		uint32_t values[256];
		uint64_t first = 0, end = 0;

		roaring_init_iterator(bitmap, &it);
		for (uint32_t n; (n = roaring_read_uint32_iterator(&it, values, 256));) {
			for (uint32_t i = 0; i < n; i++) {
				if (values[i] != end) {
					if (end > first)
						visit(first, end - first, PFNBUF_PRIVATE);
					if (values[i] > end)
						visit(end, values[i] - end, PFNBUF_SHARED);
					first = values[i];
				}
				end = values[i] + UINT64_C(1);
			}
		}
		if (end > first)
			visit(first, end - first, PFNBUF_PRIVATE);
		if (end < FRAMES)
			visit(end, FRAMES - end, PFNBUF_SHARED);
		return visit;
	}

	roaring_bitmap_t *bitmap;
};

class Icl
{
      public:
	static constexpr const char *name = "icl";
	static constexpr uint64_t UNIT = 1;

	Icl()
	{
		map.set({ interval(0, FRAMES), PFNBUF_SHARED });
	}
	void set(const Conversion &c)
	{
		map.set({ interval(c.first, c.end), c.vis });
	}
	unsigned get(uint32_t frame) const
	{
		return map.find(frame)->second;
	}
	Run get_run(uint32_t frame) const
	{
		auto it = map.find(frame);

		return { it->first.lower(), it->first.upper(), it->second };
	}
	template <typename Visit> Visit each_run(Visit visit) const
	{
		for (const auto &segment : map)
			visit(segment.first.lower(), segment.first.upper() - segment.first.lower(),
			      segment.second);
		return visit;
	}

      private:
	using Map = boost::icl::interval_map<uint64_t, unsigned, boost::icl::partial_enricher>;

	static boost::icl::discrete_interval<uint64_t> interval(uint64_t first, uint64_t end)
	{
		return boost::icl::interval<uint64_t>::right_open(first, end);
	}

	Map map;
};

/* @BITS bits per frame in words of 64: 2 for three states, 1 for private or not. */
template <unsigned BITS> class Bitmap
{
      public:
	static constexpr const char *name = BITS == 2 ? "bitmap" : "bitmap1";
	static constexpr uint64_t UNIT = 1;

	Bitmap() : words(static_cast<uint64_t *>(std::calloc(WORDS, 8)), std::free)
	{
	}
	void set(const Conversion &c)
	{
		uint64_t pattern = pattern_of(c.vis);
		size_t i = c.first / PER_WORD, last = (c.end - 1) / PER_WORD;
		uint64_t head = ~UINT64_C(0) << (c.first % PER_WORD * BITS);
		uint64_t tail = ~UINT64_C(0) >> (63 - ((c.end - 1) % PER_WORD * BITS + BITS - 1));

		if (i == last) {
			put(i, head & tail, pattern);
			return;
		}
		put(i, head, pattern);
		while (++i < last)
			words.get()[i] = pattern;
		put(last, tail, pattern);
	}
	unsigned get(uint32_t frame) const
	{
		return code_of(frame) ? PFNBUF_PRIVATE : PFNBUF_SHARED;
	}
	Run get_run(uint32_t frame) const
	{
		uint64_t pattern = pattern_of(static_cast<pfnbuf_vis>(get(frame)));
		size_t i = frame / PER_WORD;
		uint64_t other = words.get()[i] ^ pattern;
		uint64_t above = other & ~(~UINT64_C(0) >> (63 - frame % PER_WORD * BITS));
		uint64_t below = other & ((UINT64_C(1) << (frame % PER_WORD * BITS)) - 1);
		size_t up = i, down = i;

		while (!above && ++up < WORDS)
			above = words.get()[up] ^ pattern;
		while (!below && down-- > 0)
			below = words.get()[down] ^ pattern;
		return { below ? down * PER_WORD + (63 - __builtin_clzll(below)) / BITS + 1 : 0,
			 above ? up * PER_WORD + __builtin_ctzll(above) / BITS : FRAMES,
			 get(frame) };
	}
	template <typename Visit> Visit each_run(Visit visit) const
	{
		uint64_t first = 0;
		unsigned vis = get(0);

		for (size_t i = 0; i < WORDS; i++) {
			uint64_t other = words.get()[i] ^ pattern_of(static_cast<pfnbuf_vis>(vis));

			while (other) {
				unsigned bit = __builtin_ctzll(other) / BITS * BITS;
				uint64_t at = i * PER_WORD + bit / BITS;

				visit(first, at - first, vis);
				first = at;
				vis = get(static_cast<uint32_t>(at));
				other = (words.get()[i] ^
					 pattern_of(static_cast<pfnbuf_vis>(vis))) &
					(~UINT64_C(0) << bit);
			}
		}
		visit(first, FRAMES - first, vis);
		return visit;
	}

      private:
	static constexpr size_t PER_WORD = 64 / BITS;
	static constexpr size_t WORDS = FRAMES / PER_WORD;

	/* Shared is 0, so that fresh memory is right. */
	static uint64_t pattern_of(pfnbuf_vis vis)
	{
		return vis == PFNBUF_PRIVATE
			       ? (BITS == 2 ? UINT64_C(0xaaaaaaaaaaaaaaaa) : ~UINT64_C(0))
			       : 0;
	}
	void put(size_t i, uint64_t mask, uint64_t pattern)
	{
		uint64_t &word = words.get()[i];

		word = (word & ~mask) | (pattern & mask);
	}
	unsigned code_of(uint32_t frame) const
	{
		return words.get()[frame / PER_WORD] >> (frame % PER_WORD * BITS) &
		       ((1u << BITS) - 1);
	}

	std::unique_ptr<uint64_t, void (*)(void *)> words;
};

/* ------------------------------------------------------------------ measuring ------------------------------------- */

/* Time of this thread on a processor: what else the machine does costs us nothing but cache. */
double now()
{
	timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

template <typename Work> double nanoseconds(Work work)
{
	double start = now();

	work();
	return now() - start;
}

/* Whatever disturbs makes it slower, never faster. */
double best(const std::vector<double> &values)
{
	return *std::min_element(values.begin(), values.end());
}

size_t heap_bytes()
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

volatile uint64_t sink;

std::vector<Conversion> random_conversions(size_t n, unsigned max_pages, uint64_t seed)
{
	std::mt19937_64 random(seed);
	std::vector<Conversion> conversions(n);

	for (Conversion &c : conversions) {
		uint32_t pages = 1 + static_cast<uint32_t>(random() % max_pages);

		c.first = static_cast<uint32_t>(random() % (FRAMES - pages));
		c.end = c.first + pages;
		c.vis = random() & 1 ? PFNBUF_PRIVATE : PFNBUF_SHARED;
	}
	return conversions;
}

std::vector<uint32_t> random_frames(size_t n, uint64_t seed)
{
	std::mt19937_64 random(seed);
	std::vector<uint32_t> frames(n);

	for (uint32_t &frame : frames)
		frame = static_cast<uint32_t>(random() % FRAMES);
	return frames;
}

/* Nanoseconds per operation, per look-up, per run; bytes; and a digest of all runs. */
struct Figures {
	std::vector<double> set, steady, get, get_run, iterate;
	double memory = 0;
	uint64_t runs = 0;
	uint64_t digest = 0;
};

struct Load {
	std::string size;
	std::vector<Conversion> conversions;
	std::vector<Conversion> more; /* as many again, in the steady state */
	std::vector<uint32_t> frames;
};

/* The least one can do with each run. A visitor is passed and returned by value, so that it can live in registers. */
struct Summed {
	void operator()(uint64_t, uint64_t run_length, unsigned vis)
	{
		runs++;
		length += run_length + vis;
	}

	uint64_t runs = 0, length = 0;
};

template <typename Peer> void measure(const Load &load, Figures &f)
{
	size_t before = heap_bytes();
	Peer peer;
	uint64_t sum = 0;
	double n = static_cast<double>(load.conversions.size());

	f.set.push_back(nanoseconds([&] {
				for (const Conversion &c : load.conversions)
					peer.set(c);
			}) /
			n);
	f.memory = static_cast<double>(heap_bytes() - before);

	f.get.push_back(nanoseconds([&] {
				for (uint32_t frame : load.frames)
					sum += peer.get(frame);
			}) /
			load.frames.size());
	size_t some = load.frames.size() / 10;
	f.get_run.push_back(nanoseconds([&] {
				    for (size_t i = 0; i < some; i++)
					    sum += peer.get_run(load.frames[i]).end;
			    }) /
			    some);
	for (double total = 0; total < 20e6;) { /* so often that the clock can see it */
		Summed summed;
		double time = nanoseconds([&] { summed = peer.each_run(Summed()); });

		total += time;
		f.iterate.push_back(time / static_cast<double>(summed.runs));
		f.runs = summed.runs;
		sink = summed.length;
	}

	f.steady.push_back(nanoseconds([&] {
				   for (const Conversion &c : load.more)
					   peer.set(c);
			   }) /
			   n);
	peer.each_run([&](uint64_t first, uint64_t run_length, unsigned vis) {
		first /= Peer::UNIT;
		run_length /= Peer::UNIT;
		f.digest = (f.digest ^ first ^ run_length << 29 ^ uint64_t{ vis } << 58) *
			   UINT64_C(0x9e3779b97f4a7c15);
	});
	f.digest ^= sum;
	sink = sum;
}

/* ------------------------------------------------------------------ reporting ------------------------------------- */

struct Goal {
	const char *figure;
	const char *sizes; /* a prefix */
	const char *unit;
	double limit;
};

constexpr Goal goals[] = {
	{ "set", "", "roaring", 0.5 },
	{ "set", "10k", "bitmap", 1.0 },
	{ "get", "", "roaring", 0.5 },
	{ "iterate", "", "roaring", 0.15 },
	{ "iterate", "1M", "ns", 3 },
	{ "memory", "", "roaring", 3 },
	{ "memory", "1M", "bytes_per_run", 12 },
	{ "memory", "uniform", "bytes", 255 },
	{ "diff", "", "us", 1000 },
};

std::vector<std::string> missed;

void figure(const std::string &name, const std::string &size, const std::string &unit, double value)
{
	std::printf("layout.%s.%s.%s %.3f\n", name.c_str(), size.c_str(), unit.c_str(), value);
	std::fflush(stdout);
	for (const Goal &goal : goals) {
		if (name == goal.figure && unit == goal.unit && size.rfind(goal.sizes, 0) == 0 &&
		    value > goal.limit)
			missed.push_back("layout." + name + "." + size + "." + unit + " " +
					 std::to_string(value) + ", goal " +
					 std::to_string(goal.limit));
	}
}

void report(const Load &load, std::map<std::string, Figures> &all)
{
	const Figures &ours = all["ours"];

	for (const auto &[name, values] :
	     std::initializer_list<std::pair<const char *, std::vector<double> Figures::*>>{
		     { "set", &Figures::set },
		     { "set_steady", &Figures::steady },
		     { "get", &Figures::get },
		     { "get_run", &Figures::get_run },
		     { "iterate", &Figures::iterate } }) {
		figure(name, load.size, "ns", best(ours.*values));
		for (auto &[peer, figures] : all) {
			if (peer != "ours")
				figure(name, load.size, peer,
				       best(ours.*values) / best(figures.*values));
		}
	}
	figure("memory", load.size, "bytes_per_run", ours.memory / static_cast<double>(ours.runs));
	for (auto &[peer, figures] : all) {
		if (peer != "ours")
			figure("memory", load.size, peer, ours.memory / figures.memory);
		if (figures.digest != ours.digest || figures.runs != ours.runs) {
			std::fprintf(stderr, "%s and ours end in different states\n", peer.c_str());
			std::exit(EXIT_FAILURE);
		}
	}
	figure("runs", load.size, "count", static_cast<double>(ours.runs));
}

/* ------------------------------------------------------------------ figures --------------------------------------- */

struct Size {
	const char *name;
	size_t conversions;
	unsigned max_pages;
	unsigned rounds;
};

constexpr Size sizes[] = {
	{ "10k_1to8", 10000, 8, 21 }, { "10k_1to64", 10000, 64, 21 },
	{ "1M_1to8", 1000000, 8, 5 }, { "1M_1to64", 1000000, 64, 5 },
	{ "4M_1to8", 4000000, 8, 3 }, { "4M_1to64", 4000000, 64, 3 },
};

void bench_random(const Size &size)
{
	size_t n = size.conversions;
	Load load = { size.name, random_conversions(n, size.max_pages, n),
		      random_conversions(n, size.max_pages, n * 3), random_frames(1000000, n) };
	std::map<std::string, Figures> all;

	for (unsigned round = 0; round < size.rounds; round++) {
		for (auto &[name, figures] : all)
			figures.digest = 0;
		measure<Layout>(load, all["ours"]);
		measure<Roaring>(load, all["roaring"]);
		measure<Bitmap<2>>(load, all["bitmap"]);
		measure<Bitmap<1>>(load, all["bitmap1"]);
		if (round == 0 || n < 100000)
			measure<Icl>(load, all["icl"]);
		else
			all["icl"].digest = all["ours"].digest;
	}
	report(load, all);
}

/* Two layouts of a million conversions that differ in 100 places: as a copy that changed, and as strangers. */
void bench_diff()
{
	auto conversions = random_conversions(1000000, 8, 1);
	auto places = random_frames(100, 2);
	Layout from, stranger;
	Roaring roaring, roaring_other;
	std::vector<double> shared, unshared, first_set, copied, peer;
	pfnbuf_change changes[256];
	int n = 0, m = 0;

	for (const Conversion &c : conversions) {
		from.set(c);
		stranger.set(c);
		roaring.set(c);
		roaring_other.set(c);
	}
	auto change = [&](auto &target, uint32_t frame) {
		target.set({ frame, frame + 1,
			     from.get(frame) == PFNBUF_SHARED ? PFNBUF_PRIVATE : PFNBUF_SHARED });
	};
	for (uint32_t frame : places) {
		change(stranger, frame);
		change(roaring_other, frame);
	}
	for (int round = 0; round < 21; round++) {
		Layout to;
		uint64_t pos = 0;

		pfnbuf_layout_free(to.layout);
		copied.push_back(nanoseconds([&] { pfnbuf_layout_copy(from.layout, &to.layout); }));
		first_set.push_back(nanoseconds([&] { change(to, places[0]); }));
		for (uint32_t frame : places)
			change(to, frame);
		shared.push_back(nanoseconds([&] {
			n = pfnbuf_layout_diff(from.layout, to.layout, &pos, changes, 256);
		}));
		pos = 0;
		unshared.push_back(nanoseconds([&] {
			m = pfnbuf_layout_diff(from.layout, stranger.layout, &pos, changes, 256);
		}));
		peer.push_back(nanoseconds([&] {
			roaring_bitmap_t *x =
				roaring_bitmap_xor(roaring.bitmap, roaring_other.bitmap);

			sink = roaring_bitmap_get_cardinality(x);
			roaring_bitmap_free(x);
		}));
	}
	if (n != 100 || m != 100 || sink != 100) {
		std::fprintf(stderr, "diff found %d, %d and %d changes\n", n, m,
			     static_cast<int>(sink));
		std::exit(EXIT_FAILURE);
	}
	figure("diff", "1M_1to8", "us", best(shared) / 1000);
	figure("diff", "1M_1to8", "roaring", best(shared) / best(peer));
	figure("diff_strangers", "1M_1to8", "us", best(unshared) / 1000);
	figure("diff_strangers", "1M_1to8", "roaring", best(unshared) / best(peer));
	figure("copy", "1M_1to8", "ns", best(copied));
	figure("copy_and_set", "1M_1to8", "ns", best(copied) + best(first_set));
}

void bench_uniform()
{
	size_t before = heap_bytes();
	Layout layout;

	figure("memory", "uniform_TiB", "bytes", static_cast<double>(heap_bytes() - before));
}

} // namespace

int main(int argc, char **argv)
{
	if (argc == 1) {
		bench_uniform();
		bench_diff();
	}
	for (const Size &size : sizes) {
		bool wanted = argc == 1;

		for (int i = 1; i < argc; i++)
			wanted |= !std::strcmp(argv[i], size.name);
		if (wanted)
			bench_random(size);
	}
	for (const std::string &goal : missed)
		std::printf("# missed: %s\n", goal.c_str());
	return EXIT_SUCCESS;
}
