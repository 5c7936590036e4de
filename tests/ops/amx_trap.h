// Tile instructions on a processor without them: each raises an illegal instruction, which a signal handler carries out with emulated tiles. So the
// machine code of the AMX product runs, as compiled, where there is no AMX. For one thread at a time.
#pragma once

namespace gs::test {

class AmxTrap {
public:
    AmxTrap();
    ~AmxTrap();
    AmxTrap(const AmxTrap&) = delete;
    AmxTrap& operator=(const AmxTrap&) = delete;
    int n_instructions() const;     ///< carried out since it is there
};

}  // namespace gs::test
