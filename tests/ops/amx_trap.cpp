#include "tests/ops/amx_trap.h"

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <optional>

#include "engine/ops/cpu/amx_tiles.h"

namespace gs::test {
namespace {

using cpu::EmulatedTiles;
using cpu::TileConfig;

struct sigaction g_before;
int g_count = 0;
std::optional<EmulatedTiles> g_tiles;    // while configured

[[noreturn]] void not_a_tile_instruction() {
    constexpr char kWhy[] = "an illegal instruction that is none of the AMX product's\n";
    (void)!write(STDERR_FILENO, kWhy, sizeof kWhy - 1);
    _exit(132);
}

/// An instruction with a three-byte VEX prefix of map 0f38 (Intel SDM volume 2, 2.3).
struct Decoded {
    uint8_t opcode = 0;
    int prefix = 0;                 ///< pp: 0 none, 2 f3, 3 f2
    int reg = 0, rm = 0, vvvv = 0;  ///< rm: of a register operand
    bool memory = false;
    uint64_t base = 0, index = 0;   ///< the operand in memory: base with displacement, and scaled index
    int length = 0;
};

class Decoder {
public:
    Decoder(const uint8_t* at, const greg_t* registers) : m_start(at), m_at(at), m_registers(registers) {}

    Decoded decode() {
        if (next() != 0xc4) not_a_tile_instruction();
        const uint8_t first = next(), second = next();
        if ((first & 0x1f) != 2 || (second & 0x84) != 0) not_a_tile_instruction();   // map, W, L
        m_x = (first & 0x40) != 0 ? 0 : 8;
        m_b = (first & 0x20) != 0 ? 0 : 8;
        Decoded d;
        d.prefix = second & 3;
        d.vvvv = 15 - (second >> 3 & 15);
        d.opcode = next();
        const uint8_t modrm = next();
        d.reg = (modrm >> 3 & 7) + ((first & 0x80) != 0 ? 0 : 8);
        d.rm = (modrm & 7) + m_b;
        d.memory = modrm >> 6 != 3;
        if (d.memory) address(modrm, d);
        d.length = static_cast<int>(m_at - m_start);
        if (modrm >> 6 == 0 && (modrm & 7) == 5) d.base += reinterpret_cast<uint64_t>(m_at);   // from the next instruction on
        return d;
    }

private:
    uint8_t next() { return *m_at++; }

    template <class T>
    uint64_t displacement() {
        T value;
        std::memcpy(&value, m_at, sizeof value);
        m_at += sizeof value;
        return static_cast<uint64_t>(int64_t{value});
    }

    uint64_t value(int number) const {
        constexpr int kPlaces[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
        return static_cast<uint64_t>(m_registers[kPlaces[number]]);
    }

    void address(uint8_t modrm, Decoded& d) {
        const int mod = modrm >> 6;
        bool has_base = (modrm & 7) != 5 || mod != 0;
        int base = d.rm;
        if ((modrm & 7) == 4) {
            const uint8_t sib = next();
            const int index = (sib >> 3 & 7) + m_x;
            base = (sib & 7) + m_b;
            has_base = (sib & 7) != 5 || mod != 0;
            if (index != 4) d.index = value(index) << (sib >> 6);
        }
        if (has_base) d.base = value(base);
        if (mod == 1) d.base += displacement<int8_t>();
        if (mod == 2 || !has_base) d.base += displacement<int32_t>();
    }

    const uint8_t *m_start, *m_at;
    const greg_t* m_registers;
    int m_x = 0, m_b = 0;
};

void configure(const void* from) {
    TileConfig config{{}};
    std::memcpy(&config, from, sizeof config);
    g_tiles.emplace(config);
}

void carry_out(const Decoded& d) {
    constexpr uint8_t kConfigure = 0x49, kMove = 0x4b, kMultiply = 0x5e;
    constexpr int kNone = 0, kF3 = 2, kF2 = 3;
    auto* at = reinterpret_cast<std::byte*>(d.base);
    const auto stride = static_cast<ptrdiff_t>(d.index);
    if (d.opcode == kConfigure && d.prefix == kNone && d.reg == 0 && d.memory) return configure(at + stride);
    if (!g_tiles) not_a_tile_instruction();
    if (d.opcode == kConfigure && d.prefix == kNone && d.reg == 0 && d.rm == 0) return g_tiles.reset();
    if (d.opcode == kConfigure && d.prefix == kF2 && !d.memory) return g_tiles->zero(d.reg);
    if (d.opcode == kMove && d.prefix == kF2 && d.memory) return g_tiles->load(d.reg, at, stride);
    if (d.opcode == kMove && d.prefix == kF3 && d.memory) return g_tiles->store(d.reg, at, stride);
    if (d.opcode == kMultiply && d.prefix == kF3 && !d.memory) return g_tiles->multiply(d.reg, d.rm, d.vvvv);
    not_a_tile_instruction();
}

void on_illegal_instruction(int, siginfo_t*, void* context) {
    greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    const Decoded d = Decoder(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), registers).decode();
    carry_out(d);
    registers[REG_RIP] += d.length;
    ++g_count;
}

}  // namespace

AmxTrap::AmxTrap() {
    g_count = 0;
    struct sigaction action {};
    action.sa_sigaction = on_illegal_instruction;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, &g_before);
}

AmxTrap::~AmxTrap() { sigaction(SIGILL, &g_before, nullptr); }

int AmxTrap::n_instructions() const { return g_count; }

}  // namespace gs::test
#endif
