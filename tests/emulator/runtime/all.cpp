// cuda_emulator runtime: fibers, barriers, warp collectives, shared memory, error detection.  One OS thread per process.
#include "cuda_emulator.hpp"
#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>
#include <sys/mman.h>
#include <unistd.h>
#define NO_TSAN __attribute__((no_sanitize("thread")))
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define EMULATOR_ASAN 1
#endif

extern "C" void emulator_switch(void** save_sp, void* to_sp);
#if defined(__x86_64__)
asm(R"(
.text
.globl emulator_switch
.type emulator_switch,@function
emulator_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size emulator_switch,.-emulator_switch
)");
#endif

namespace cuda_emulator {
enum State : uint8_t { READY, RUNNING, AT_BLOCK, AT_WARP, AT_GRID, DONE };
struct Block;
struct Stack { char* lo; size_t size; };
struct Thread : Ctx {
  State st = READY; Block* blk = nullptr; void* sp = nullptr; Stack stk{};
  Loc at{"start"}; unsigned wmask = 0; WarpFn wfn = nullptr; void* wargs = nullptr;
  int pred = 0; unsigned epoch = 0, clk = 1; uint32_t vc[32]{}; uint32_t gid = 0;
  struct Copy { char* d; const char* s; int n, ns; }; std::vector<std::vector<Copy>> cp;
  void* fake = nullptr; bool fenced = false;
};
struct Var { size_t off, bytes; };
struct Cell { uint32_t wt, wc, we, rt, rc, re; uint16_t wg, rg; uint8_t wa; };  // last writer / reader: thread+1, clock, block epoch, grid epoch
struct Rel { uint32_t epoch, gid, clk; };                           // what a block had published when it did fence + atomic
constexpr uint32_t MANY = 0xffffffffu, MANY_BLOCKS = 0xfffffffeu;
struct Block {
  struct Warp { unsigned mask = 0, have = 0; }; Warp warps[32];
  uint3 id; unsigned lin; std::vector<Thread> th; char* smem = nullptr; size_t stat_top = 0, dyn_off = 0;
  std::unordered_map<const void*, Var> vars; unsigned live = 0, waiting = 0, gwaiting = 0; int bkind = 0, bres = 0;
  Loc bloc{""}; unsigned epoch = 0; size_t dirty = 0; std::vector<Cell> scells, dcells; std::unordered_map<uint32_t, Rel> acq; std::vector<Thread*> cur, next;
};
struct Cfg { unsigned grid[3], block[3]; uint64_t shmem, max_shared, seed; double preempt; int order, coop, race; unsigned timeout; static constexpr int max_coop_blocks = 132; };
struct Stats { uint64_t switches, static_shared, barriers, collectives, blocks; };

Ctx* cur = nullptr;
static Thread* me() { return static_cast<Thread*>(cur); }
static void* sched_sp; static sigjmp_buf* sched_jmp; static Cfg cfg; static Stats stats; static std::string error; static bool running = false;
static void (*entry_fn)(void**); static void** entry_args;
static std::vector<Stack> pool, all_stacks; static uint64_t rng; static unsigned grid_epoch = 0;
constexpr size_t STACK = 128 << 10, SMEM = 256 << 10, RED = 64, PAGE = 4096;
static uint64_t rnd() { rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17; return rng; }

#ifdef EMULATOR_ASAN
static const void* host_lo; static size_t host_sz; static void* host_fake;
#endif
static void to_sched(Thread* t, bool dying = false) {
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(dying ? nullptr : &t->fake, host_lo, host_sz);
#endif
  emulator_switch(&t->sp, sched_sp);
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(t->fake, nullptr, nullptr);
#endif
  (void)dying;
}
static std::string who(const Thread* t) {
  char b[128]; snprintf(b, sizeof b, "block (%u,%u,%u) thread (%u,%u,%u)", t->bid.x, t->bid.y, t->bid.z, t->tid.x, t->tid.y, t->tid.z); return b;
}
static std::string where(const Loc& l) { return std::string(l.what) + " at " + l.file + ":" + std::to_string(l.line); }
static void set_error(const std::string& m) { if (error.empty()) error = m; }
void fail(const char* fmt, ...) {
  char b[1024]; va_list ap; va_start(ap, fmt); vsnprintf(b, sizeof b, fmt, ap); va_end(ap);
  set_error(running && cur ? who(me()) + ": " + b : std::string(b));
  if (running) siglongjmp(*sched_jmp, 1);
  fprintf(stderr, "cuda_emulator: %s\n", b); abort();
}

// ---- stacks -----------------------------------------------------------------------------------------------
static Stack get_stack() {
  if (!pool.empty()) { Stack s = pool.back(); pool.pop_back(); return s; }
  char* p = (char*)mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) { perror("cuda_emulator: mmap stack"); abort(); }
  mprotect(p, PAGE, PROT_NONE);
  all_stacks.push_back({p + PAGE, STACK}); return all_stacks.back();
}
static void fiber_main() {
  Thread* t = me();
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &host_lo, &host_sz);
#endif
  entry_fn(entry_args);
  t->st = DONE; t->at = {"exit", "", 0};
  to_sched(t, true);
  __builtin_unreachable();
}
static void resume(Thread* t) {
  if (t->st == READY && !t->sp) {
    t->stk = get_stack();
#ifdef EMULATOR_ASAN
    ASAN_UNPOISON_MEMORY_REGION(t->stk.lo, t->stk.size);
#endif
    void** top = (void**)(t->stk.lo + t->stk.size);
    *--top = nullptr; *--top = (void*)fiber_main; for (int i = 0; i < 6; ++i) *--top = nullptr;
    t->sp = top;
  }
  t->st = RUNNING; cur = t; ++stats.switches;
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&host_fake, t->stk.lo, t->stk.size);
#endif
  emulator_switch(&sched_sp, t->sp);
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(host_fake, nullptr, nullptr);
#endif
  cur = nullptr;
  if (t->st == DONE) { pool.push_back(t->stk); t->stk = {}; --t->blk->live; }
}
static void yield_ready() { Thread* t = me(); t->st = READY; t->blk->next.push_back(t); to_sched(t); }
static void maybe_preempt() { if (cfg.preempt > 0 && running && (rnd() >> 11) * 0x1p-53 < cfg.preempt) yield_ready(); }

// ---- barriers ---------------------------------------------------------------------------------------------
static void release_block(Block* b) {
  int r = b->bkind == 2; unsigned n = 0;
  for (auto& t : b->th) if (t.st == AT_BLOCK) { if (b->bkind == 1) r += t.pred != 0; else if (b->bkind == 2) r &= t.pred != 0; else if (b->bkind == 3) r |= t.pred != 0; ++n; }
  b->bres = r; ++b->epoch; ++stats.barriers; b->waiting = 0;
  for (auto& t : b->th) if (t.st == AT_BLOCK) { t.st = READY; t.epoch = b->epoch; b->next.push_back(&t); }
}
int block_barrier(Loc l, int kind, int pred) {
  Thread* t = me(); Block* b = t->blk;
  if (b->waiting == 0) { b->bloc = l; b->bkind = kind; }
  else if (b->bloc.line != l.line || strcmp(b->bloc.file, l.file) || b->bkind != kind)
    fail("divergent barrier: this thread is at %s while other threads of the block wait at %s", where(l).c_str(), where(b->bloc).c_str());
  t->st = AT_BLOCK; t->at = l; t->pred = pred; ++t->clk; ++b->waiting;
  to_sched(t);
  return b->bres;
}
void grid_barrier(Loc l) {
  Thread* t = me();
  if (!cfg.coop) fail("%s in a launch without cooperative groups", where(l).c_str());
  t->st = AT_GRID; t->at = l; ++t->clk; ++t->blk->gwaiting; to_sched(t);
}
void warp_collective(Loc l, unsigned mask, WarpFn fn, void* mine) {
  Thread* t = me(); Block* b = t->blk;
  if (!(mask >> t->lane & 1)) fail("%s: mask %08x does not name the calling lane %u", where(l).c_str(), mask, t->lane);
  unsigned w0 = t->lin & ~31u, n = b->th.size(); Thread* w = &b->th[w0]; unsigned have = 0;
  t->st = AT_WARP; t->at = l; t->wmask = mask; t->wfn = fn; t->wargs = mine; ++t->clk;
  auto& q = b->warps[t->lin / 32];                                  // quick way: everyone uses the same mask
  if (q.mask != mask) { q = {mask, 0}; for (unsigned i = 0; i < 32 && w0 + i < n; ++i) if (w[i].st == AT_WARP && w[i].wmask == mask) q.have |= 1u << i; }
  q.have |= 1u << t->lane;
  if (q.have != mask) {
    const unsigned exist = n - w0 >= 32 ? 0xffffffffu : (1u << (n - w0)) - 1;
    if (mask & ~exist) fail("%s: mask %08x names lanes that do not exist (block of %u threads)", where(l).c_str(), mask, n);
    if (q.have & (q.have - 1)) { to_sched(t); return; }             // the first to arrive also looks for exited lanes
  }
  for (unsigned i = 0; i < 32; ++i) if (mask >> i & 1) {
    if (w0 + i >= n) fail("%s: mask %08x names lane %u, which does not exist (block of %u threads)", where(l).c_str(), mask, i, n);
    if (w[i].st == DONE) fail("%s: mask %08x names lane %u, which has exited", where(l).c_str(), mask, i);
    if (w[i].st == AT_WARP && w[i].wmask == mask && w[i].wfn == fn) have |= 1u << i;
  }
  if (have != mask) { to_sched(t); return; }
  void* lanes[32] = {}; uint32_t vc[32] = {};
  for (unsigned i = 0; i < 32; ++i) if (mask >> i & 1) {
    if (w[i].at.line != l.line || strcmp(w[i].at.file, l.file)) fail("divergent warp collective: lane %u at %s, lane %u at %s", t->lane, where(l).c_str(), i, where(w[i].at).c_str());
    lanes[i] = w[i].wargs;
  }
  fn(lanes, mask); ++stats.collectives; if (q.mask == mask) q.have = 0;
  if (cfg.race) {
    for (unsigned i = 0; i < 32; ++i) if (mask >> i & 1) for (int k = 0; k < 32; ++k) vc[k] = std::max(vc[k], k == (int)i ? w[i].clk - 1 : w[i].vc[k]);
    for (unsigned i = 0; i < 32; ++i) if (mask >> i & 1) memcpy(w[i].vc, vc, sizeof vc);
  }
  for (unsigned i = 0; i < 32; ++i) if (mask >> i & 1) {
    if (&w[i] == t) t->st = RUNNING; else { w[i].st = READY; b->next.push_back(&w[i]); } }
}
unsigned active_mask() { return 1u << me()->lane; }                // the weakest answer a program may rely on
void fence() { if (cfg.race) me()->fenced = true; }
void spin_hint() { yield_ready(); }

// ---- shared memory ----------------------------------------------------------------------------------------
static void redzone(char* p, size_t n) {
#ifdef EMULATOR_ASAN
  ASAN_UNPOISON_MEMORY_REGION(p, n);
#endif
  memset(p, 0xff, n);
#ifdef EMULATOR_ASAN
  ASAN_POISON_MEMORY_REGION(p, n);
#endif
}
static void poison(char* p, size_t n) {
#ifdef EMULATOR_ASAN
  ASAN_UNPOISON_MEMORY_REGION(p, n);
#endif
  memset(p, 0xff, n);
}
void* shared_static(const void* key, size_t bytes, size_t align) {
  Block* b = me()->blk; auto it = b->vars.find(key);
  if (it != b->vars.end()) return b->smem + it->second.off;
  size_t off = (b->stat_top + RED + 127) & ~size_t(127); (void)align;
  if (off + bytes + RED > SMEM) fail("static shared memory beyond the arena");
  poison(b->smem + off, bytes);
  b->vars[key] = {off, bytes}; b->stat_top = off + bytes; b->dirty = std::max(b->dirty, b->stat_top + 8192); size_t tot = 0; for (auto& v : b->vars) tot += v.second.bytes;
  stats.static_shared = std::max<uint64_t>(stats.static_shared, tot);
  if (tot > 48 << 10) fail("static shared memory of %zu bytes is over the 48 KiB limit", tot);
  if (tot + cfg.shmem > cfg.max_shared) fail("shared memory: %zu static + %zu dynamic bytes over the limit of %zu", tot, (size_t)cfg.shmem, (size_t)cfg.max_shared);
  return b->smem + off;
}
void* shared_dynamic() { Block* b = me()->blk; return b->smem + SMEM + PAGE - ((cfg.shmem + 15) & ~size_t(15)); }  // ends at a guard page
static char* new_smem() {
  char* p = (char*)mmap(nullptr, SMEM + PAGE + SMEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(p + SMEM + PAGE, SMEM, PROT_NONE); return p;
}
static std::vector<char*> smem_pool;

// ---- known buffers, access checks (called from the compiler's thread-sanitizer hooks) ------------------------

struct Buf { char* lo; size_t n, cap; std::string name; std::vector<Cell> cells; };
static std::map<char*, Buf> bufs;                                   // key: lo
static std::string describe(const void* q) {
  char* p = (char*)q; char b[200];
  auto it = bufs.upper_bound(p);
  const Buf *best = nullptr; long d = 1 << 20;
  if (it != bufs.end() && it->second.lo - p < d) { best = &it->second; d = it->second.lo - p; }
  if (it != bufs.begin()) { auto& v = std::prev(it)->second; long e = p < v.lo + (long)v.n ? 0 : p - (v.lo + v.n); if (e < d) { best = &v; d = e; } }
  if (!best) return "no known buffer is near";
  if (p < best->lo) snprintf(b, sizeof b, "%ld bytes before buffer %s (%zu bytes)", (long)(best->lo - p), best->name.c_str(), best->n);
  else if (p < best->lo + best->n) snprintf(b, sizeof b, "offset %ld of buffer %s (%zu bytes)", (long)(p - best->lo), best->name.c_str(), best->n);
  else snprintf(b, sizeof b, "%ld bytes past the end of buffer %s (%zu bytes)", (long)(p - best->lo - best->n), best->name.c_str(), best->n);
  return b;
}
static std::string tname(uint32_t gid) { unsigned n = cfg.block[0] * cfg.block[1] * cfg.block[2]; return "block " + std::to_string(gid / n) + " thread " + std::to_string(gid % n); }
static void acquire(const void* p, Thread* t);
NO_TSAN static bool ordered(uint32_t gid, uint32_t clk, uint32_t ep, uint16_t ge, Thread* t) {
  if (gid == t->gid || ge != (uint16_t)grid_epoch) return true;     // own access, or before the last grid barrier
  unsigned n = t->blk->th.size();
  if (gid / n != t->blk->lin) {                                    // published by that block (fence, atomic) and seen by an atomic here
    auto it = t->blk->acq.find(gid / n); if (it == t->blk->acq.end()) return false;
    return ep < it->second.epoch || (gid == it->second.gid && clk <= it->second.clk);
  }
  if (ep < t->epoch) return true;                                  // before the last block barrier
  return gid % n / 32 == t->lin / 32 && clk <= t->vc[gid % n % 32];  // before a warp collective both lanes took part in
}
NO_TSAN static void race(const char* kind, const void* p, uint32_t other, Thread* t, void* pc, bool shared) {
  char b[400]; snprintf(b, sizeof b, "data race (%s) on %s memory, %s: with %s, no barrier between  [pc %p]", kind, shared ? "shared" : "global",
    shared ? ("shared offset " + std::to_string((char*)p - t->blk->smem)).c_str() : describe(p).c_str(), tname(other).c_str(), pc); (void)t;
  fail("%s", b);
}
NO_TSAN static void track(Cell* c, size_t n, const void* p, bool wr, int at, Thread* t, void* pc, bool sh) {
  uint32_t g = t->gid, bn = t->blk->th.size();
  for (size_t i = 0; i < n; ++i, ++c) {
    if (sh && (!wr || at == 2) && !c->wt) fail("read of shared memory that nobody has written (shared offset %ld)  [pc %p]", (long)((char*)p + i - t->blk->smem), pc);
    if (c->wt && !(at && c->wa) && !ordered(c->wt - 1, c->wc, c->we, c->wg, t)) race(wr ? "write after write" : "read after write", (char*)p + i, c->wt - 1, t, pc, sh);
    if (wr) {
      if (c->rt == MANY_BLOCKS ? c->rg == (uint16_t)grid_epoch : c->rt == MANY ? c->rg == (uint16_t)grid_epoch && c->re >= t->epoch : false)
        race("write after reads by several warps", (char*)p + i, g, t, pc, sh);
      if (c->rt && c->rt < MANY_BLOCKS && !ordered(c->rt - 1, c->rc, c->re, c->rg, t)) race("write after read", (char*)p + i, c->rt - 1, t, pc, sh);
      c->wt = g + 1; c->wc = t->clk; c->we = t->epoch; c->wg = grid_epoch; c->wa = at; c->rt = 0;
    } else {
      uint32_t o = c->rt - 1; bool same = c->rt && c->rg == (uint16_t)grid_epoch;
      if (same && (c->rt == MANY_BLOCKS || (c->rt != MANY && o / bn != g / bn))) c->rt = MANY_BLOCKS;
      else if (same && c->re == t->epoch && (c->rt == MANY || o % bn / 32 != t->lin / 32)) c->rt = MANY;
      else { c->rt = g + 1; c->rc = t->clk; }
      c->re = t->epoch; c->rg = grid_epoch;
    }
  }
}
NO_TSAN static void access(const void* p_, size_t n, bool wr, int at, void* pc) {
  if (!running || !cur) return;
  Thread* t = me(); Block* b = t->blk; char* p = (char*)p_;
  if (p >= t->stk.lo && p < t->stk.lo + t->stk.size) return;
  if (p >= b->smem && p < b->smem + SMEM + PAGE) {
    char* d = (char*)shared_dynamic(); bool ok = p >= d && p + n <= d + cfg.shmem;
    if (!ok && p < b->smem + SMEM) for (auto& v : b->vars) { char* lo = b->smem + v.second.off; if (p >= lo && p + n <= lo + v.second.bytes) { ok = true; break; } }
    if (!ok) fail("out-of-bounds %s of %zu bytes in shared memory (offset %ld; dynamic part has %zu bytes)  [pc %p]", wr ? "write" : "read", n, (long)(p >= d - 4096 && cfg.shmem ? p - d : p - b->smem), (size_t)cfg.shmem, pc);
    if ((uintptr_t)p % (n > 16 ? 16 : n)) fail("misaligned %zu-byte access to shared memory  [pc %p]", n, pc);
    if (cfg.race) { bool dy = p >= d; auto& cs = dy ? b->dcells : b->scells; size_t o = dy ? p - d : p - b->smem; if (cs.size() < o + n) cs.resize(o + n + 512); track(&cs[o], n, p, wr, at, t, pc, true); }
    maybe_preempt(); return;
  }
  auto it = bufs.upper_bound(p);
  if (it != bufs.begin()) { Buf& v = std::prev(it)->second;
    if (p + n <= v.lo + v.n) {
      if ((uintptr_t)p % (n > 16 ? 16 : n)) fail("misaligned %zu-byte access to %s  [pc %p]", n, describe(p).c_str(), pc);
      if (cfg.race) { if (at && !wr) acquire(p, t); if (v.cells.empty()) v.cells.resize(v.n); track(&v.cells[p - v.lo], n, p, wr, at, t, pc, false); }
      maybe_preempt(); return; }
    if (p < v.lo + v.cap) fail("out-of-bounds %s of %zu bytes: %s  [pc %p]", wr ? "write" : "read", n, describe(p).c_str(), pc);
  }
}
static std::unordered_map<const void*, std::unordered_map<uint32_t, Rel>> published;
static void acquire(const void* p, Thread* t) { auto it = published.find(p); if (it != published.end()) for (auto& [b, r] : it->second) if (b != t->blk->lin) t->blk->acq[b] = r; }
void atomic_point(const void* p, size_t n) {
  if ((cfg.coop || cfg.preempt > 0) && rnd() % 4 == 0) yield_ready();           // so that spin loops make progress
  if (!cfg.race) return;
  Thread* t = me(); access(p, n, true, 2, __builtin_return_address(0));
  if (t->fenced) published[p][t->blk->lin] = {t->epoch, t->gid, t->clk};
  acquire(p, t);
}

// ---- cp.async: the copy happens only when the program waits for it ------------------------------------------
static auto& groups() { auto& q = me()->cp; if (q.empty()) q.emplace_back(); return q; }
void async_copy(void* d, const void* s, int n, int ns) { groups().back().push_back({(char*)d, (const char*)s, n, ns}); }
void async_commit() { groups().emplace_back(); }
void async_wait(int n, bool all) {
  auto& q = groups(); if (all) n = 0;
  size_t done = q.size() - (all ? 0 : 1); done = done > (size_t)n ? done - n : 0;
  for (size_t i = 0; i < done; ++i) for (auto& c : q[i]) {
    access(c.s, c.ns ? c.ns : 1, false, false, nullptr); access(c.d, c.n, true, false, nullptr);
    memset(c.d, 0, c.n); memcpy(c.d, c.s, c.ns); }
  q.erase(q.begin(), q.begin() + done);
}

// ---- scheduling -------------------------------------------------------------------------------------------
static void start_block(Block& b, unsigned bx) {
  unsigned nt = cfg.block[0] * cfg.block[1] * cfg.block[2];
  b.lin = bx; b.id = {bx % cfg.grid[0], bx / cfg.grid[0] % cfg.grid[1], bx / cfg.grid[0] / cfg.grid[1]};
  b.th.clear(); b.th.resize(nt); b.live = nt; b.waiting = b.gwaiting = 0; b.epoch = 0; b.vars.clear(); b.stat_top = 0; for (auto& w : b.warps) w = {}; b.cur.clear(); b.next.clear(); b.acq.clear();
  if (!b.smem) { if (smem_pool.empty()) b.smem = new_smem(); else { b.smem = smem_pool.back(); smem_pool.pop_back(); } }
  size_t z = SMEM + PAGE, dyn = (cfg.shmem + 15) & ~size_t(15), lo = std::max(b.dirty, size_t(1) << 13), hi = std::max(dyn + 4096, b.dyn_off); if (!b.dirty) lo = z;
  redzone(b.smem, std::min(lo, z)); if (lo < z) redzone(b.smem + z - hi, hi);          // only what the last block may have touched
  b.dirty = 1; b.dyn_off = dyn + 4096; poison(b.smem + z - dyn, cfg.shmem);
  b.scells.clear(); b.dcells.clear();
  for (unsigned i = 0; i < nt; ++i) { Thread& t = b.th[i];
    t.bid = b.id; t.gdim = {cfg.grid[0], cfg.grid[1], cfg.grid[2]}; t.bdim = {cfg.block[0], cfg.block[1], cfg.block[2]};
    t.tid = {i % cfg.block[0], i / cfg.block[0] % cfg.block[1], i / cfg.block[0] / cfg.block[1]};
    t.lin = i; t.lane = i % 32; t.blk = &b; t.gid = bx * nt + i; b.next.push_back(&t); }
}
static void canaries(Block& b) {
#ifndef EMULATOR_ASAN
  std::vector<Var> v; for (auto& k : b.vars) v.push_back(k.second);
  std::sort(v.begin(), v.end(), [](auto& x, auto& y) { return x.off < y.off; });
  auto bad = [&](size_t a, size_t z) { for (size_t i = a; i < z; ++i) if ((unsigned char)b.smem[i] != 0xff) return (long)i; return -1L; };
  size_t p = 0; for (auto& x : v) { long w = bad(p, x.off); if (w >= 0) { set_error("shared memory written out of bounds, " + std::to_string(x.off - w) + " bytes before a static array of " + std::to_string(x.bytes) + " bytes (or past the one before it)"); return; } p = x.off + x.bytes; }
  size_t z = SMEM + PAGE - ((cfg.shmem + 15) & ~size_t(15)); long w = bad(p, std::min(z, p + 4096)); if (w >= 0) { set_error("shared memory written " + std::to_string(w - p) + " bytes past the end of the last static array"); return; }
  w = bad(std::max(p, z - 2048 > z ? p : z - 2048), z); if (w >= 0) { set_error("shared memory written before the dynamic shared array"); return; }
  w = bad(z + cfg.shmem, SMEM + PAGE); if (w >= 0) set_error("shared memory written past the end of the dynamic shared array");
#endif
}
static bool step(Block& b) {                                        // run what is ready; false if nothing was
  if (b.next.empty()) return false;
  b.cur.swap(b.next); b.next.clear(); auto& q = b.cur;
  auto by = [](Thread* x, Thread* y) { return x->lin < y->lin; };
  switch (cfg.order) {
    case 0: std::sort(q.begin(), q.end(), by); break;
    case 1: std::sort(q.begin(), q.end(), by); std::reverse(q.begin(), q.end()); break;
    case 2: for (size_t i = q.size(); i > 1; --i) std::swap(q[i - 1], q[rnd() % i]); break;
    case 3: { std::sort(q.begin(), q.end(), by); std::vector<std::pair<uint64_t, Thread*>> k; uint64_t r = 0; unsigned w = ~0u;   // warps shuffled, lanes in order
      for (auto* t : q) { if (t->lin / 32 != w) { w = t->lin / 32; r = rnd(); } k.push_back({r, t}); }
      std::stable_sort(k.begin(), k.end(), [](auto& x, auto& y) { return x.first < y.first; }); for (size_t i = 0; i < q.size(); ++i) q[i] = k[i].second; }
  }
  for (Thread* t : q) {
    resume(t);
    if (b.waiting && b.waiting == b.live && b.live == b.th.size()) release_block(&b);
  }
  return true;
}
static void stuck(Block& b) {
  std::map<std::string, std::vector<unsigned>> g; unsigned done = 0;
  for (auto& t : b.th) { if (t.st == DONE) { ++done; continue; } std::string k = where(t.at); if (t.st == AT_WARP) { char m[32]; snprintf(m, sizeof m, " mask %08x", t.wmask); k += m; } g[k].push_back(t.lin); }
  std::string s = "deadlock in block (" + std::to_string(b.id.x) + "," + std::to_string(b.id.y) + "," + std::to_string(b.id.z) + "): ";
  for (auto& [k, v] : g) { s += std::to_string(v.size()) + " thread(s) wait at " + k + " (first: "; for (size_t i = 0; i < v.size() && i < 4; ++i) s += (i ? "," : "") + std::to_string(v[i]); s += "); "; }
  s += std::to_string(done) + " thread(s) have exited"; set_error(s);
}
static bool early_exit(Block& b) {                                  // some threads left before a barrier the others wait at
  if (b.waiting && b.live < b.th.size()) { stuck(b); error = "barrier not reached by all threads: " + error; return true; }
  return false;
}
static void run_all(std::vector<unsigned>& ids) {
  if (!cfg.coop) {
    static Block b;
    for (unsigned id : ids) {
      start_block(b, id); ++stats.blocks;
      while (b.live) { bool ran = step(b); if (early_exit(b)) return; if (!ran && b.live) { stuck(b); return; } }
      canaries(b); if (!error.empty()) return;
    }
    return;
  }
  static std::vector<Block> bs; for (auto& b : bs) if (b.smem) { smem_pool.push_back(b.smem); b.smem = nullptr; b.dirty = 0; }
  bs.clear(); bs.resize(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) { start_block(bs[i], ids[i]); ++stats.blocks; }
  for (;;) {
    bool ran = false; unsigned live = 0, gw = 0, total = 0; std::vector<size_t> ord(bs.size()); for (size_t i = 0; i < ord.size(); ++i) ord[i] = i;
    for (size_t i = ord.size(); i > 1; --i) std::swap(ord[i - 1], ord[rnd() % i]);
    for (size_t i : ord) { for (int burst = 1 << rnd() % 16; burst-- && step(bs[i]);) ran = true; if (early_exit(bs[i])) return; }
    for (auto& b : bs) { live += b.live; gw += b.gwaiting; total += b.th.size(); }
    if (!live) break;
    if (gw && gw == live) {
      if (live < total) { for (auto& b : bs) if (b.live) { stuck(b); error = "grid barrier not reached by all threads: " + error; return; } }
      ++grid_epoch;
      for (auto& b : bs) { b.gwaiting = 0; ++b.epoch; for (auto& t : b.th) if (t.st == AT_GRID) { t.st = READY; t.epoch = b.epoch; b.next.push_back(&t); } }
      ran = true;
    }
    if (!ran) { for (auto& b : bs) if (b.live && b.gwaiting != b.live) { stuck(b); return; } }
  }
  for (auto& b : bs) { canaries(b); if (!error.empty()) return; }
}
static struct sigaction old_alrm, old_segv, old_bus, old_fpe, old_ill;
static void on_signal(int sig, siginfo_t* si, void* uc) {
  if (!running) { sigaction(SIGSEGV, &old_segv, nullptr); return; }
  char b[500]; Thread* t = cur ? me() : nullptr; void* pc = nullptr;
#ifdef __x86_64__
  pc = (void*)((ucontext_t*)uc)->uc_mcontext.gregs[16];
#endif
  char* a = (char*)si->si_addr;
  if (sig == SIGALRM) snprintf(b, sizeof b, "launch timed out: endless loop?  [pc %p]", pc);
  else if (sig == SIGFPE) snprintf(b, sizeof b, "integer division by zero  [pc %p]", pc);
  else if (t && a >= t->stk.lo - PAGE && a < t->stk.lo) snprintf(b, sizeof b, "stack overflow (local memory over %zu KiB)  [pc %p]", STACK >> 10, pc);
  else if (t && a >= t->blk->smem + SMEM + PAGE && a < t->blk->smem + 2 * SMEM + PAGE) snprintf(b, sizeof b, "out-of-bounds access %ld bytes past the end of dynamic shared memory (%zu bytes)  [pc %p]", (long)(a - (t->blk->smem + SMEM + PAGE)), (size_t)cfg.shmem, pc);
  else snprintf(b, sizeof b, "%s at address %p: %s  [pc %p]", sig == SIGILL ? "illegal instruction" : "invalid memory access", a, describe(a).c_str(), pc);
  set_error((t ? who(t) + ": " : std::string()) + b);
  siglongjmp(*sched_jmp, 1);
}
}  // namespace cuda_emulator

using namespace cuda_emulator;
extern "C" {
void emulator_register(char* lo, size_t n, size_t cap, const char* name) { bufs[lo] = {lo, n, cap, name, {}}; }
void emulator_unregister(char* lo) { bufs.erase(lo); }
int emulator_launch(void (*entry)(void**), void** args, const Cfg* c, Stats* st, char* err, size_t errn) {
  cfg = *c; stats = {}; error.clear(); entry_fn = entry; entry_args = args; rng = cfg.seed * 0x9E3779B97F4A7C15ull + 0x1234567; grid_epoch = 0;
  for (int i = 0; i < 8; ++i) rnd();
  if (cfg.race) { published.clear(); for (auto& b : bufs) b.second.cells.clear(); }
  uint64_t nt = (uint64_t)cfg.block[0] * cfg.block[1] * cfg.block[2], nb = (uint64_t)cfg.grid[0] * cfg.grid[1] * cfg.grid[2];
  char m[300] = "";
  if (!nt || nt > 1024 || cfg.block[0] > 1024 || cfg.block[1] > 1024 || cfg.block[2] > 64) snprintf(m, sizeof m, "invalid block (%u,%u,%u): at most 1024 threads", cfg.block[0], cfg.block[1], cfg.block[2]);
  else if (!nb || cfg.grid[0] > 0x7fffffffu || cfg.grid[1] > 65535 || cfg.grid[2] > 65535) snprintf(m, sizeof m, "invalid grid (%u,%u,%u)", cfg.grid[0], cfg.grid[1], cfg.grid[2]);
  else if (cfg.shmem > cfg.max_shared) snprintf(m, sizeof m, "dynamic shared memory of %zu bytes over the limit of %zu (raise max_dynamic_shared_size_bytes)", (size_t)cfg.shmem, (size_t)cfg.max_shared);
  else if (cfg.coop && nb > (uint64_t)cfg.max_coop_blocks) snprintf(m, sizeof m, "cooperative launch of %zu blocks: more than %d are not resident at once", (size_t)nb, cfg.max_coop_blocks);
  if (*m) { snprintf(err, errn, "%s", m); return 1; }
  std::vector<unsigned> ids(nb); for (size_t i = 0; i < nb; ++i) ids[i] = i;
  if (cfg.order == 1) std::reverse(ids.begin(), ids.end()); else if (cfg.order >= 2) for (size_t i = nb; i > 1; --i) std::swap(ids[i - 1], ids[rnd() % i]);
#ifndef EMULATOR_ASAN
  static char* alt = (char*)mmap(nullptr, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t ss{alt, 0, 64 << 10}, oss; sigaltstack(&ss, &oss);
  struct sigaction sa{}; sa.sa_sigaction = on_signal; sa.sa_flags = SA_SIGINFO | SA_ONSTACK; sigemptyset(&sa.sa_mask);
  sigaction(SIGSEGV, &sa, &old_segv); sigaction(SIGBUS, &sa, &old_bus); sigaction(SIGFPE, &sa, &old_fpe); sigaction(SIGILL, &sa, &old_ill); sigaction(SIGALRM, &sa, &old_alrm); alarm(cfg.timeout);
#endif
  static sigjmp_buf jb; sched_jmp = &jb; running = true; pool = all_stacks;
  if (!sigsetjmp(jb, 1)) run_all(ids);
  running = false; cur = nullptr;
#ifndef EMULATOR_ASAN
  sigaction(SIGSEGV, &old_segv, nullptr); sigaction(SIGBUS, &old_bus, nullptr); sigaction(SIGFPE, &old_fpe, nullptr); sigaction(SIGILL, &old_ill, nullptr); alarm(0); sigaction(SIGALRM, &old_alrm, nullptr); sigaltstack(&oss, nullptr);
#endif
  if (st) *st = stats;
  if (!error.empty()) { snprintf(err, errn, "%s", error.c_str()); return 1; }
  return 0;
}
// Hooks that g++ -fsanitize=thread calls around memory accesses (we supply them; libtsan is not linked).
#define H(n) NO_TSAN void __tsan_read##n(void* p) { access(p, n, false, false, __builtin_return_address(0)); } \
  NO_TSAN void __tsan_write##n(void* p) { access(p, n, true, false, __builtin_return_address(0)); } \
  NO_TSAN void __tsan_unaligned_read##n(void* p) { access(p, n, false, false, __builtin_return_address(0)); } \
  NO_TSAN void __tsan_unaligned_write##n(void* p) { access(p, n, true, false, __builtin_return_address(0)); } \
  NO_TSAN void __tsan_volatile_read##n(void* p) { access(p, n, false, true, __builtin_return_address(0)); } \
  NO_TSAN void __tsan_volatile_write##n(void* p) { access(p, n, true, true, __builtin_return_address(0)); }
H(1) H(2) H(4) H(8) H(16)
NO_TSAN void __tsan_read_range(void* p, size_t n) { access(p, n, false, false, __builtin_return_address(0)); }
NO_TSAN void __tsan_write_range(void* p, size_t n) { access(p, n, true, false, __builtin_return_address(0)); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
// Handlers that g++ -fsanitize=undefined calls (libubsan is not linked).
struct UbLoc { const char* f; uint32_t line, col; };
void __ubsan_handle_out_of_bounds(UbLoc* l, uintptr_t i) { fail("array index %ld out of bounds  [pc %p]", (long)i, __builtin_return_address(0)); (void)l; ; }
void __ubsan_handle_type_mismatch_v1(UbLoc* l, uintptr_t p) { fail("misaligned or null pointer %p  [pc %p]", (void*)p, __builtin_return_address(0)); (void)l; ; }
void __ubsan_handle_shift_out_of_bounds(UbLoc* l, uintptr_t, uintptr_t) { fail("shift out of range at %s:%u", l->f, l->line); }
void __ubsan_handle_divrem_overflow(UbLoc* l, uintptr_t, uintptr_t) { fail("division by zero at %s:%u", l->f, l->line); }
void __ubsan_handle_add_overflow(UbLoc* l, uintptr_t, uintptr_t) { fail("signed overflow in + at %s:%u", l->f, l->line); }
void __ubsan_handle_sub_overflow(UbLoc* l, uintptr_t, uintptr_t) { fail("signed overflow in - at %s:%u", l->f, l->line); }
void __ubsan_handle_mul_overflow(UbLoc* l, uintptr_t, uintptr_t) { fail("signed overflow in * at %s:%u", l->f, l->line); }
void __ubsan_handle_negate_overflow(UbLoc* l, uintptr_t) { fail("signed overflow in unary - at %s:%u", l->f, l->line); }
}
