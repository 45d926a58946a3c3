// iceoryx: a typed topic each way; polled, and by its wait set. Its daemon, RouDi, is the bench's own.
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/publisher.hpp>
#include <iceoryx_posh/popo/subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <pwd.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#include "bench/peers/peers.h"

namespace {

using namespace iox;

popo::PublisherOptions publishing() {
    popo::PublisherOptions o;
    o.subscriberTooSlowPolicy = popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    return o;
}

popo::SubscriberOptions subscribing() {
    popo::SubscriberOptions o;
    o.queueCapacity = 256U;
    o.queueFullPolicy = popo::QueueFullPolicy::BLOCK_PRODUCER;
    return o;
}

capro::ServiceDescription topic(bool there) {
    return {"vmsig", "bench", capro::IdString_t(cxx::TruncateToCapacity, std::string(there ? "there" : "back"))};
}

struct end {
    explicit end(int side) : out(topic(side == 0), publishing()), in(topic(side != 0), subscribing()) {}
    popo::Publisher<peer_message> out;
    popo::Subscriber<peer_message> in;
    popo::WaitSet<> waitset;
};

void *start(const char *) {
    const char *const argv[] = {"iox-roudi", "-l", "off", nullptr};
    return new int(peer_daemon(argv));
}

void *join(void *, int side, int) {
    const std::string name = std::string("vmsig-bench-") + (side == 0 ? "asks" : "answers");
    log::LogManager::GetLogManager().SetDefaultLogLevel(log::LogLevel::kError, log::LogLevelOutput::kHideLogLevel);
    runtime::PoshRuntime::initRuntime(RuntimeName_t(cxx::TruncateToCapacity, name));
    auto *e = new end(side);
    if (e->waitset.attachState(e->in, popo::SubscriberState::HAS_DATA).has_error())
        peer_fail("iceoryx", "its wait set takes no subscriber");
    for (int ms = 0; e->in.getSubscriptionState() != SubscribeState::SUBSCRIBED || !e->out.hasSubscribers(); ms++) {
        if (ms == 10000)
            peer_fail("iceoryx", "the two sides do not find each other");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return e;
}

void send_one(void *handle, int, const peer_message *m) {
    static_cast<end *>(handle)
        ->out.loan()
        .and_then([&](auto &sample) {
            *sample = *m;
            sample.publish();
        })
        .or_else([](auto &) { peer_fail("iceoryx", "it lends no chunk"); });
}

bool take(end *e, peer_message *m) {
    bool there = false;
    e->in.take().and_then([&](auto &sample) {
        *m = *sample;
        there = true;
    });
    return there;
}

void receive_polling(void *handle, int, peer_message *m) {
    while (!take(static_cast<end *>(handle), m))
        __builtin_ia32_pause();
}

void receive_waiting(void *handle, int, peer_message *m) {
    auto *e = static_cast<end *>(handle);
    while (!take(e, m))
        e->waitset.wait();
}

void leave(void *handle, int) {
    delete static_cast<end *>(handle);
}

void end_daemon(void *shared) {
    auto *pid = static_cast<int *>(shared);
    peer_daemon_end(*pid);
    delete pid;
    shm_unlink("/iceoryx_mgmt"); // it leaves them behind
    if (const passwd *user = getpwuid(geteuid()))
        shm_unlink((std::string("/") + user->pw_name).c_str());
}

} // namespace

extern const peer peer_iceoryx_poll = {"iceoryx, polling", 1,       200000, start,     join, send_one,
                                       receive_polling,    nullptr, leave,  end_daemon};
extern const peer peer_iceoryx_wait = {"iceoryx, wait set", 0,       200000, start,     join, send_one,
                                       receive_waiting,     nullptr, leave,  end_daemon};
