// Program does what its first argument says, for the tests of the scheduler.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		fmt.Println("stopped by SIGTERM")
		os.Exit(0)
	}()
	fmt.Println("started as", strings.Join(os.Args[1:], " "))
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2])
	case "find": // what must be there from the start
		if _, err := net.LookupHost(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		serve(":8080")
	case "exit":
		code, _ := strconv.Atoi(os.Args[2])
		fmt.Fprintln(os.Stderr, "panic: no database")
		os.Exit(code)
	case "eat":
		var all [][]byte
		for {
			b := make([]byte, 8<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
			fmt.Println("ate", 8*len(all), "MiB")
		}
	case "idle":
		select {}
	case "mute":
		if _, err := net.Listen("tcp", ":8080"); err != nil {
			fmt.Println(err)
		}
		select {}
	case "health":
		healthy(os.Args[2])
	}
}

// healthy serves grpc.health.v1. It is SERVING after a time.
func healthy(after string) {
	h := health.NewServer()
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if d, err := time.ParseDuration(after); err == nil {
		time.AfterFunc(d, func() {
			fmt.Println("warm")
			h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
		})
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Serve(l))
}

// serve answers what a test wants to know from inside a container.
func serve(address string) {
	http.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, strings.Join(os.Environ(), "\n")) })
	http.HandleFunc("/args", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, strings.Join(os.Args, "\n")) })
	http.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		b, _ := os.ReadFile("/proc/self/status")
		w.Write(b)
	})
	http.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	http.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		c, err := net.DialTimeout("tcp", r.FormValue("address"), 2*time.Second)
		if err != nil {
			fmt.Fprintln(w, "no:", err)
			return
		}
		c.Close()
		fmt.Fprintln(w, "yes")
	})
	http.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("for"))
		time.Sleep(d)
		fmt.Fprint(w, "slept")
	})
	http.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		rsp, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Get(r.FormValue("url"))
		if err != nil {
			fmt.Fprintln(w, "no:", err)
			return
		}
		defer rsp.Body.Close()
		io.Copy(w, rsp.Body)
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, os.WriteFile(r.FormValue("path"), []byte("x"), 0o600))
	})
	http.HandleFunc("/print", func(_ http.ResponseWriter, r *http.Request) { fmt.Println(r.FormValue("text")) })
	fmt.Println(http.ListenAndServe(address, nil))
}
